//! The machine and the user, on which defaults depend.

use std::path::PathBuf;

use super::size::ByteSize;
use super::types::Arch;

/// The host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The architecture.
    pub arch: Arch,
    /// The number of CPUs.
    pub cpus: u32,
    /// The size of the RAM.
    pub memory: ByteSize,
    /// The user who runs rdd.
    pub user: HostUser,
}

/// The user who runs rdd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostUser {
    /// Login name.
    pub name: String,
    /// User id; `None` on Windows, whose users have none.
    pub uid: Option<u32>,
    /// Full name; may be empty.
    pub comment: String,
    /// Home folder.
    pub home: PathBuf,
}

/// A property of the host is unknown.
#[derive(Debug, thiserror::Error)]
#[error("cannot find out {what} of this machine")]
pub struct HostError {
    /// The property.
    pub what: &'static str,
}

impl Host {
    /// Describes this machine. The caller gives the user.
    ///
    /// # Errors
    /// [`HostError`] on an architecture that Lima has no name for.
    pub fn detect(user: HostUser) -> Result<Self, HostError> {
        /// Assumed if the system does not report its RAM. Enough for a small VM by default.
        const UNKNOWN_MEMORY: ByteSize = ByteSize::gib(8);
        let arch = Arch::of_this_build().ok_or(HostError {
            what: "the architecture",
        })?;
        let cpus = std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        let memory = total_memory().unwrap_or(UNKNOWN_MEMORY);
        Ok(Self {
            arch,
            cpus,
            memory,
            user,
        })
    }
}

impl HostUser {
    /// Returns the user of this process, from `/etc/passwd`; a user who is not in there (directory services) is named after the
    /// home folder. `home` counts, and not the one of `/etc/passwd`: `~` in a template is the folder in which rdd keeps
    /// everything else.
    #[cfg(unix)]
    #[must_use]
    pub fn current(home: &std::path::Path) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let from_file = std::fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|text| passwd_entry(&text, uid));
        let user = from_file.unwrap_or_else(|| Self {
            name: home
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            uid: Some(uid),
            comment: String::new(),
            home: PathBuf::new(),
        });
        Self {
            home: home.to_owned(),
            ..user
        }
    }
}

#[cfg(unix)]
fn passwd_entry(text: &str, uid: u32) -> Option<HostUser> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let (comment, home) = (fields.nth(1)?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| HostUser {
            name: name.to_owned(),
            uid: Some(uid),
            // The full name is the first part of the GECOS field.
            comment: comment.split(',').next().unwrap_or_default().to_owned(),
            home: PathBuf::from(home),
        })
    })
}

#[cfg(target_os = "linux")]
fn total_memory() -> Option<ByteSize> {
    let info = rustix::system::sysinfo();
    // The types depend on the architecture.
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "c_ulong is 32 or 64 bits"
    )]
    let total = u64::try_from(info.totalram).ok()?;
    let total = total.checked_mul(u64::from(info.mem_unit))?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = cgroup_limit(&groups, std::path::Path::new("/sys/fs/cgroup"));
    Some(ByteSize(limit.map_or(total, |limit| limit.min(total))))
}

/// The least memory limit of the cgroups that the process is in, and of those above them, in bytes. `groups` is the
/// content of `/proc/self/cgroup` (cgroups(7)), `root` the place where cgroups are mounted.
#[cfg(target_os = "linux")]
fn cgroup_limit(groups: &str, root: &std::path::Path) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // Version 2 has one tree and no list of controllers; version 1 has a tree for each.
        let (mount, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|one| one == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = mount.join(path.trim_start_matches('/'));
        for folder in group
            .ancestors()
            .take_while(|folder| folder.starts_with(&mount))
        {
            // "max", or no file: no limit.
            let limit = std::fs::read_to_string(folder.join(file))
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok());
            least = least.into_iter().chain(limit).min();
        }
    }
    least
}

#[cfg(not(target_os = "linux"))]
fn total_memory() -> Option<ByteSize> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_read_from_passwd() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\nalice:x:1000:1000:Alice A,,,:/home/alice:/bin/zsh\n";
        let alice = passwd_entry(text, 1000).unwrap();
        assert_eq!(
            (alice.name.as_str(), alice.comment.as_str()),
            ("alice", "Alice A")
        );
        assert_eq!(alice.home, PathBuf::from("/home/alice"));
        assert_eq!(passwd_entry(text, 7), None);
    }

    #[test]
    fn home_of_the_environment_counts_and_not_that_of_passwd() {
        let user = HostUser::current(std::path::Path::new("/home/x"));
        assert_eq!(user.home, PathBuf::from("/home/x"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn least_memory_limit_of_the_cgroups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("user/rdd/memory.max", "max\n");
        write("user/memory.max", "700000000\n");
        write("memory/docker/memory.limit_in_bytes", "629145600\n");
        let limit = |groups| cgroup_limit(groups, root.path());
        assert_eq!(limit("0::/user/rdd\n"), Some(700_000_000));
        assert_eq!(
            limit("9:cpu:/docker\n4:memory:/docker\n"),
            Some(629_145_600)
        );
        assert_eq!(limit("0::/elsewhere\n"), None);
    }

    #[test]
    fn this_machine_has_memory_and_cpus() {
        let host = Host::detect(HostUser::current(std::path::Path::new("/home/x"))).unwrap();
        assert!(host.cpus >= 1);
        assert!(host.memory > ByteSize::mib(100), "{}", host.memory);
    }
}
