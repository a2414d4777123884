//! The settings that `svc create` saves for later starts (`args.json`).
//!
//! The file contains the arguments of `svc serve` as a list of strings. This is the format of the Go daemon, so an
//! instance of the Go daemon keeps its settings.

use std::io;

use anyhow::{Context as _, bail};

use crate::cli::ServeSettings;
use crate::paths::Paths;

/// All controllers.
pub(crate) const ALL_CONTROLLERS: &str = "*";

/// The settings as arguments of `svc serve`.
pub(crate) fn as_arguments(settings: &ServeSettings) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(controllers) = &settings.controllers {
        arguments.extend(["--controllers".to_owned(), controllers.clone()]);
    }
    if let Some(port) = settings.secure_port {
        arguments.extend(["--secure-port".to_owned(), port.to_string()]);
    }
    arguments
}

/// Parses a list of arguments. `-v N` is the Go daemon's verbosity and is ignored.
fn from_arguments(arguments: &[String]) -> anyhow::Result<ServeSettings> {
    let mut settings = ServeSettings::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, value),
            None => (
                argument.as_str(),
                rest.next()
                    .with_context(|| format!("{argument} has no value"))?
                    .as_str(),
            ),
        };
        match flag {
            "--controllers" => settings.controllers = Some(value.to_owned()),
            "--secure-port" => {
                let port = value
                    .parse()
                    .with_context(|| format!("{value:?} is not a port"))?;
                settings.secure_port = Some(port);
            }
            "-v" => {}
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(settings)
}

/// Saves the settings. From then on the instance exists.
pub(crate) fn save(paths: &Paths, settings: &ServeSettings) -> anyhow::Result<()> {
    let settings = ServeSettings {
        controllers: Some(
            settings
                .controllers
                .clone()
                .unwrap_or_else(|| ALL_CONTROLLERS.to_owned()),
        ),
        secure_port: settings.secure_port,
    };
    process::file::create_private_dir(&paths.dir)?;
    let text = format!("{}\n", serde_json::to_string(&as_arguments(&settings))?);
    process::file::write_atomic(&paths.args_file(), text.as_bytes(), 0o600)?;
    Ok(())
}

/// The saved settings; `None` when the instance does not exist.
pub(crate) fn load(paths: &Paths) -> anyhow::Result<Option<ServeSettings>> {
    let file = paths.args_file();
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read the settings {}", file.display()));
        }
    };
    let parsed = serde_json::from_slice::<Vec<String>>(&text)
        .context("it is not a JSON list of strings")
        .and_then(|arguments| from_arguments(&arguments));
    parsed.map(Some).with_context(|| {
        format!(
            "the settings in {} are damaged; remove that file and run `rdd svc create` again, no VM or object is lost",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &std::path::Path) -> Paths {
        let environment = crate::environment::Environment {
            home: folder.to_owned(),
            ..crate::environment::Environment::default()
        };
        Paths::new(&crate::instance::Instance::new("t").unwrap(), &environment)
    }

    #[test]
    fn saved_settings_are_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        assert!(load(&paths).unwrap().is_none());
        save(
            &paths,
            &ServeSettings {
                controllers: Some("-lima".into()),
                secure_port: Some(7000),
            },
        )
        .unwrap();
        let settings = load(&paths).unwrap().unwrap();
        assert_eq!(settings.controllers.as_deref(), Some("-lima"));
        assert_eq!(settings.secure_port, Some(7000));
    }

    #[test]
    fn settings_of_the_go_daemon_are_loaded_and_damage_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        std::fs::create_dir_all(&paths.dir).unwrap();
        std::fs::write(
            paths.args_file(),
            r#"["--controllers","*","--secure-port","6500","-v","2"]"#,
        )
        .unwrap();
        assert_eq!(load(&paths).unwrap().unwrap().secure_port, Some(6500));
        for damaged in [
            "",
            "{",
            "{}",
            "[1]",
            r#"["--secure-port","99999"]"#,
            r#"["--what","x"]"#,
            r#"["--controllers"]"#,
        ] {
            std::fs::write(paths.args_file(), damaged).unwrap();
            let error = format!("{:#}", load(&paths).unwrap_err());
            assert!(
                error.contains("args.json are damaged") && error.contains("svc create"),
                "{damaged}: {error}"
            );
        }
    }
}
