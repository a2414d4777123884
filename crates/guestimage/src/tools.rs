//! Which programs a build needs, and which packages have them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::BuildError;

/// Where programs are looked for unless the caller says otherwise: `mke2fs` is in a folder that users often do not
/// have in their PATH.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a build may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// As root.
    Root,
    /// In a user namespace, with a range of subordinate ids.
    UserNamespace,
}

impl Privilege {
    /// The words that a command is run with so that it acts as root on the build's files.
    ///
    /// In a user namespace our user is root and the subordinate ids are everybody else. A process namespace of its own
    /// (with `kill_child`) ends all that the command started when the first of them, `unshare`, ends.
    #[must_use]
    pub fn namespace(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["unshare", "--fork", "--pid", "--kill-child", "--mount-proc"],
            Self::UserNamespace => &[
                "unshare",
                "--map-root-user",
                "--map-auto",
                "--fork",
                "--pid",
                "--kill-child",
                "--mount-proc",
            ],
        }
    }
}

const PROGRAMS: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("apt-get", "apt"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
];
const PROGRAMS_WITHOUT_ROOT: [(&str, &str); 2] =
    [("fakeroot", "fakeroot"), ("newuidmap", "uidmap")];

/// Checks that every program is there, before anything is downloaded.
///
/// # Errors
/// [`BuildError::MissingTools`] with everything that is missing, and the packages to install.
pub fn check(search_path: &OsStr, keyring: &Path, privilege: Privilege) -> Result<(), BuildError> {
    let mut missing: Vec<(String, &str)> = PROGRAMS
        .iter()
        .chain(
            PROGRAMS_WITHOUT_ROOT
                .iter()
                .filter(|_| privilege == Privilege::UserNamespace),
        )
        .filter(|(program, _)| find(search_path, program).is_none())
        .map(|(program, package)| ((*program).to_owned(), *package))
        .collect();
    if !keyring.exists() {
        missing.push((keyring.display().to_string(), "debian-archive-keyring"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (programs, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    Err(BuildError::MissingTools {
        programs: programs.join(", "),
        packages: packages.join(" "),
    })
}

fn find(search_path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Checks that this user has subordinate ids, in `/etc/subuid` and `/etc/subgid` (subuid(5)).
///
/// # Errors
/// [`BuildError::NoSubordinateIds`] says how to give some.
pub fn check_subordinate_ids(etc: &Path, user: &str, uid: u32) -> Result<(), BuildError> {
    /// Debian's packages use ids up to 65534.
    const ENOUGH: u64 = 65_536;
    for name in ["subuid", "subgid"] {
        let file = etc.join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let has_range = text.lines().any(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [who, _, count] = fields[..] else {
                return false;
            };
            (who == user || who == uid.to_string())
                && count
                    .trim()
                    .parse::<u64>()
                    .is_ok_and(|count| count >= ENOUGH)
        });
        if !has_range {
            return Err(BuildError::NoSubordinateIds {
                file,
                user: user.to_owned(),
            });
        }
    }
    Ok(())
}

/// The name of a user id, from `passwd`; the number itself when it has none.
#[must_use]
pub fn user_name(etc: &Path, uid: u32) -> String {
    let passwd = std::fs::read_to_string(etc.join("passwd")).unwrap_or_default();
    let number = uid.to_string();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&number));
    line.and_then(|line| line.split(':').next())
        .map_or(number.clone(), str::to_owned)
}

/// The default of [`crate::Options::search_path`].
#[must_use]
pub fn default_search_path() -> OsString {
    SEARCH_PATH.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for (program, _) in PROGRAMS.iter().filter(|(program, _)| *program != "mke2fs") {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        let keyring = folder.path().join("keys.gpg");
        let error = check(
            folder.path().as_os_str(),
            &keyring,
            Privilege::UserNamespace,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("mke2fs, fakeroot, newuidmap, "), "{error}");
        assert!(
            error.ends_with("apt-get install e2fsprogs fakeroot uidmap debian-archive-keyring"),
            "{error}"
        );
        std::fs::write(folder.path().join("mke2fs"), "").unwrap();
        std::fs::write(&keyring, "").unwrap();
        check(folder.path().as_os_str(), &keyring, Privilege::Root).unwrap();
    }

    #[test]
    fn subordinate_ids_are_found_by_name_or_number_and_must_be_enough() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path();
        let set = |text: &str| {
            std::fs::write(etc.join("subuid"), text).unwrap();
            std::fs::write(etc.join("subgid"), text).unwrap();
        };
        std::fs::write(
            etc.join("passwd"),
            "root:x:0:0::/:/bin/sh\njan:x:1001:1001::/:/bin/sh\n",
        )
        .unwrap();
        assert_eq!(
            (user_name(etc, 1001).as_str(), user_name(etc, 7).as_str()),
            ("jan", "7")
        );
        assert!(check_subordinate_ids(etc, "jan", 1001).is_err(), "no files");
        for (text, good) in [
            ("jan:100000:65536\n", true),
            ("1001:100000:65536\n", true),
            ("other:100000:65536\n", false),
            ("jan:100000:1000\n", false),
            ("jan:100000\njan\n", false),
        ] {
            set(text);
            assert_eq!(
                check_subordinate_ids(etc, "jan", 1001).is_ok(),
                good,
                "{text}"
            );
        }
        let error = check_subordinate_ids(etc, "jan", 1001)
            .unwrap_err()
            .to_string();
        assert!(error.contains("usermod --add-subuids"), "{error}");
    }
}
