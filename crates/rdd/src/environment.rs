//! The environment variables of the program, read once. No other module of this crate reads one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

/// The variable that names the home folder ([`std::env::home_dir`]).
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// The variable that names the daemon's end of the pipe on which it reports that it is ready.
pub(crate) const READY_VARIABLE: &str = "RDD_SERVE_READY";

/// The variables that rdd reads. Those that begin with `RDD_` also apply to the daemon and every process that it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// The user's home folder.
    pub(crate) home: PathBuf,
    /// `RDD_INSTANCE`.
    pub(crate) instance: Option<String>,
    /// `RDD_LOG_LEVEL`.
    pub(crate) log_level: Option<String>,
    /// `RDD_LOG_DIR`.
    pub(crate) log_dir: Option<PathBuf>,
    /// `RDD_LOG_TITLE`: the first line of each new log.
    pub(crate) log_title: Option<String>,
    /// `RDD_KEEP_LOGS`: no log is ever pruned or deleted.
    pub(crate) keep_logs: bool,
    /// `RDD_DEVELOPER_MODE`.
    pub(crate) developer_mode: bool,
    /// [`READY_VARIABLE`].
    pub(crate) ready_pipe: Option<String>,
    /// `PATH`: the folders in which other programs are searched.
    pub(crate) search_path: OsString,
    /// The proxy variables in both cases, also empty ones: guests get them.
    pub(crate) proxies: BTreeMap<String, String>,
    /// `XDG_CACHE_HOME`.
    pub(crate) xdg_cache_home: Option<PathBuf>,
    /// `LOCALAPPDATA` (Windows).
    pub(crate) local_app_data: Option<PathBuf>,
    /// The editors named by `VISUAL` and `EDITOR`, the first that is set.
    pub(crate) editor: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn of_this_process() -> anyhow::Result<Self> {
        let home = std::env::home_dir()
            .with_context(|| format!("cannot find your home folder: {HOME} is not set and the system knows none; set {HOME}"))?;
        if home.is_relative() {
            // The daemon has another working directory, as below.
            anyhow::bail!(
                "cannot use {home:?} as your home folder, since it is no absolute path; set {HOME} to one",
            );
        }
        let mut environment = Self::from_variables(|name| std::env::var_os(name))?;
        environment.home = home;
        Ok(environment)
    }

    /// Everything but the home folder, from a table of variables.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        // An empty variable counts as unset, because shell scripts pass "no value" in this way.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| -> anyhow::Result<Option<String>> {
            set(name)
                .map(|value| {
                    value.into_string().map_err(|value| {
                        anyhow::anyhow!(
                            "the environment variable {name} is not valid UTF-8: {value:?}"
                        )
                    })
                })
                .transpose()
        };
        let absolute = |name: &str| -> anyhow::Result<Option<PathBuf>> {
            match set(name).map(PathBuf::from) {
                // The working directory of the daemon differs from the command's, so a relative path would name two folders.
                Some(path) if path.is_relative() => anyhow::bail!(
                    "the environment variable {name} must hold an absolute path, not {}",
                    path.display()
                ),
                path => Ok(path),
            }
        };
        Ok(Self {
            home: PathBuf::new(),
            instance: text("RDD_INSTANCE")?,
            log_level: text("RDD_LOG_LEVEL")?,
            log_dir: absolute("RDD_LOG_DIR")?,
            log_title: text("RDD_LOG_TITLE")?,
            keep_logs: set("RDD_KEEP_LOGS").is_some(),
            developer_mode: text("RDD_DEVELOPER_MODE")?
                .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")),
            ready_pipe: text(READY_VARIABLE)?,
            search_path: set("PATH").unwrap_or_default(),
            proxies: lima::cidata::PROXY_VARIABLES
                .iter()
                .flat_map(|name| [(*name).to_owned(), name.to_uppercase()])
                .filter_map(|name| Some((name.clone(), variable(&name)?.into_string().ok()?)))
                .collect(),
            // The XDG specification says that a relative path is to be ignored.
            xdg_cache_home: set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute()),
            local_app_data: set("LOCALAPPDATA")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute()),
            editor: match text("VISUAL")? {
                None => text("EDITOR")?,
                visual => visual,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<Environment> {
        Environment::from_variables(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn empty_variable_counts_as_unset() {
        let environment = read(&[
            ("RDD_INSTANCE", ""),
            ("RDD_KEEP_LOGS", ""),
            ("VISUAL", ""),
            ("EDITOR", "ed"),
        ])
        .unwrap();
        assert_eq!(environment.instance, None);
        assert!(!environment.keep_logs);
        assert_eq!(environment.editor.as_deref(), Some("ed"));
    }

    #[test]
    fn proxies_are_read_in_both_cases_and_may_be_empty() {
        let environment = read(&[
            ("http_proxy", ""),
            ("HTTPS_PROXY", "http://p"),
            ("PROXY", "x"),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            environment.unwrap().proxies,
            [pair("http_proxy", ""), pair("HTTPS_PROXY", "http://p")].into()
        );
    }

    #[test]
    fn developer_mode_is_1_or_true() {
        for (value, expected) in [
            ("1", true),
            ("true", true),
            ("TRUE", true),
            ("0", false),
            ("no", false),
        ] {
            assert_eq!(
                read(&[("RDD_DEVELOPER_MODE", value)])
                    .unwrap()
                    .developer_mode,
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn relative_log_folder_is_refused() {
        let error = read(&[("RDD_LOG_DIR", "logs")]).unwrap_err().to_string();
        assert!(
            error.contains("RDD_LOG_DIR must hold an absolute path, not logs"),
            "{error}"
        );
    }
}
