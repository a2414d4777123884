//! The files and folders of an instance on each platform (the table of `rdd svc paths`).

use std::path::PathBuf;

use crate::environment::Environment;
use crate::instance::Instance;

/// The conventions for the folders of a user's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// The XDG base directories.
    Linux,
    /// `~/Library`.
    MacOs,
    /// `AppData`.
    Windows,
}

impl Platform {
    /// The platform that this program was built for; every other Unix follows Linux.
    pub(crate) const fn current() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else if cfg!(windows) {
            Self::Windows
        } else {
            Self::Linux
        }
    }
}

/// The file in a log folder that names the instance whose logs are in it.
pub(crate) const LOG_OWNER: &str = ".rdd-logs";

/// The files and folders of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The daemon's data.
    pub(crate) dir: PathBuf,
    /// The daemon's logs.
    pub(crate) log_dir: PathBuf,
    /// A folder with a path so short that sockets fit below it.
    pub(crate) short_dir: PathBuf,
    /// `RDD_LOG_DIR` names no other log folder, which could hold files of the user's.
    pub(crate) log_dir_is_default: bool,
    /// The image cache, which all instances of the user share.
    pub(crate) cache_dir: PathBuf,
}

impl Paths {
    /// The paths of an instance on this platform.
    pub(crate) fn new(instance: &Instance, environment: &Environment) -> Self {
        let mut paths = Self::on(Platform::current(), instance, environment);
        if !paths.log_dir_is_default {
            paths.log_dir = log_folder_of(instance, paths.log_dir);
        }
        paths
    }

    /// The paths of an instance on any platform.
    fn on(platform: Platform, instance: &Instance, environment: &Environment) -> Self {
        let home = &environment.home;
        let name = instance.to_string();
        let (dir, log_dir, cache_dir) = match platform {
            Platform::Linux => (
                home.join(".local/share").join(&name),
                home.join(".local/state").join(&name),
                environment
                    .xdg_cache_home
                    .clone()
                    .unwrap_or_else(|| home.join(".cache"))
                    .join("rdd"),
            ),
            Platform::MacOs => (
                home.join("Library/Application Support").join(&name),
                home.join("Library/Logs").join(&name),
                home.join("Library/Caches/rdd"),
            ),
            Platform::Windows => {
                let local = home.join("AppData").join("Local");
                let cache = environment
                    .local_app_data
                    .clone()
                    .unwrap_or_else(|| local.clone());
                (
                    local.join(&name),
                    local.join(format!("{name}-logs")),
                    cache.join("rdd").join("cache"),
                )
            }
        };
        Self {
            dir,
            log_dir: environment.log_dir.clone().unwrap_or(log_dir),
            log_dir_is_default: environment.log_dir.is_none(),
            short_dir: home.join(format!(".rd{}", instance.suffix())),
            cache_dir,
        }
    }

    /// The folder of the VMs, in Lima's layout.
    pub(crate) fn lima_home(&self) -> PathBuf {
        self.short_dir.join("lima")
    }

    /// Certificates and keys.
    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The kubeconfig of the administrator.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("config.yaml")
    }

    /// The daemon's PID, for people. No code acts on it.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("rdd.pid")
    }

    /// The arguments that `svc create` saved.
    pub(crate) fn args_file(&self) -> PathBuf {
        self.dir.join("args.json")
    }

    /// The lock that the daemon holds for its whole life.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("rdd.lock")
    }

    /// The lock that a command holds while it starts the daemon, so that only one command rotates the logs.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.dir.join("start.lock")
    }

    /// The file that the daemon writes once it is ready.
    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.join("ready.json")
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("rdd.db")
    }

    /// The log of the daemon's standard output.
    pub(crate) fn stdout_log(&self) -> PathBuf {
        self.log_dir.join("rdd.stdout.log")
    }

    /// The log of the daemon's standard error, where its log lines go.
    pub(crate) fn stderr_log(&self) -> PathBuf {
        self.log_dir.join("rdd.stderr.log")
    }

    /// The logs of deleted VMs, with `RDD_KEEP_LOGS`.
    pub(crate) fn kept_vm_logs(&self) -> PathBuf {
        self.log_dir.join("vms")
    }

    /// The table of `rdd svc paths`, in the order of the keys.
    pub(crate) fn table(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("args_file", self.args_file()),
            ("config", self.config()),
            ("dir", self.dir.clone()),
            ("lima_home", self.lima_home()),
            ("log_dir", self.log_dir.clone()),
            ("pid_file", self.pid_file()),
            ("short_dir", self.short_dir.clone()),
            ("stderr_log", self.stderr_log()),
            ("stdout_log", self.stdout_log()),
            ("tls_dir", self.tls_dir()),
        ]
    }
}

/// The folder that `RDD_LOG_DIR` names, or one with the instance's name in it when another instance logs there: the
/// logs of all instances have the same names.
fn log_folder_of(instance: &Instance, chosen: PathBuf) -> PathBuf {
    let own = chosen.join(instance.to_string());
    let owner = std::fs::read_to_string(chosen.join(LOG_OWNER)).unwrap_or_default();
    let is_free = owner.is_empty() || owner.trim() == instance.to_string();
    if is_free && !own.join(LOG_OWNER).exists() {
        chosen
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn paths(platform: Platform, log_dir: Option<&str>) -> Paths {
        let environment = Environment {
            home: "/home/me".into(),
            log_dir: log_dir.map(Into::into),
            ..Environment::default()
        };
        Paths::on(platform, &Instance::new("7").unwrap(), &environment)
    }

    #[test]
    fn each_platform_has_its_folders() {
        let linux = paths(Platform::Linux, None);
        assert_eq!(
            linux.dir,
            Path::new("/home/me/.local/share/rancher-desktop-7")
        );
        assert_eq!(
            linux.log_dir,
            Path::new("/home/me/.local/state/rancher-desktop-7")
        );
        assert_eq!(linux.lima_home(), Path::new("/home/me/.rd7/lima"));
        assert_eq!(linux.cache_dir, Path::new("/home/me/.cache/rdd"));

        let mac = paths(Platform::MacOs, None);
        assert_eq!(
            mac.dir,
            Path::new("/home/me/Library/Application Support/rancher-desktop-7")
        );
        assert_eq!(
            mac.log_dir,
            Path::new("/home/me/Library/Logs/rancher-desktop-7")
        );
        assert_eq!(mac.short_dir, Path::new("/home/me/.rd7"));

        let windows = paths(Platform::Windows, None);
        assert_eq!(
            windows.dir,
            Path::new("/home/me/AppData/Local/rancher-desktop-7")
        );
        assert_eq!(
            windows.log_dir,
            Path::new("/home/me/AppData/Local/rancher-desktop-7-logs")
        );
    }

    #[test]
    fn log_folder_can_be_chosen() {
        let chosen = paths(Platform::Linux, Some("/var/log/mine"));
        assert_eq!(
            chosen.stderr_log(),
            Path::new("/var/log/mine/rdd.stderr.log")
        );
        assert!(!chosen.log_dir_is_default);
    }

    #[test]
    fn two_instances_with_one_log_folder_keep_their_logs_apart() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment {
            home: "/home/me".into(),
            log_dir: Some(folder.path().to_owned()),
            ..Environment::default()
        };
        let log_dir = |name| Paths::new(&Instance::new(name).unwrap(), &environment).log_dir;
        assert_eq!(log_dir("a"), folder.path());
        std::fs::write(folder.path().join(LOG_OWNER), "rancher-desktop-a\n").unwrap();
        assert_eq!(log_dir("a"), folder.path());
        let own = folder.path().join("rancher-desktop-b");
        assert_eq!(log_dir("b"), own);
        // It stays there when the first instance is gone.
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join(LOG_OWNER), "rancher-desktop-b\n").unwrap();
        std::fs::remove_file(folder.path().join(LOG_OWNER)).unwrap();
        assert_eq!(log_dir("b"), own);
    }

    #[test]
    fn table_is_sorted_by_key() {
        let table = paths(Platform::Linux, None).table();
        assert!(table.is_sorted_by_key(|(key, _)| *key));
    }
}
