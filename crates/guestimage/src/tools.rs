//! The programs that a build needs, and the packages that have them.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::error::BuildError;

/// The default folders of programs. `mke2fs` is in a folder that is often not in a user's PATH.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The privilege of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Root.
    Root,
    /// A user namespace with a range of subordinate ids.
    UserNamespace,
}

impl Privilege {
    /// Returns the words before a command that let it act as root on the build's files.
    ///
    /// In a user namespace the user is root, and the subordinate ids are the other users. The process namespace (with
    /// `--kill-child`) kills all processes of the command when the first of them, `unshare`, dies.
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

/// Checks before the download that every program is installed.
///
/// # Errors
/// [`BuildError::MissingTools`] with all missing programs and their packages.
pub fn check(search_path: &OsStr, keyring: &Path, privilege: Privilege) -> Result<(), BuildError> {
    let mut missing: Vec<(String, &str)> = PROGRAMS
        .iter()
        .chain(
            PROGRAMS_WITHOUT_ROOT
                .iter()
                .filter(|_| privilege == Privilege::UserNamespace),
        )
        .filter(|(program, _)| {
            which::which_in_global(program, Some(search_path))
                .map_or(true, |mut found| found.next().is_none())
        })
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

/// Checks that the user has subordinate ids in `/etc/subuid` and `/etc/subgid` (subuid(5)).
///
/// # Errors
/// [`BuildError::NoSubordinateIds`] with the command that adds some.
pub fn check_subordinate_ids(etc: &Path, user: &str, uid: u32) -> Result<(), BuildError> {
    /// Debian's packages use ids up to 65534.
    const ENOUGH: u64 = 65_536;
    for name in ["subuid", "subgid"] {
        let file = etc.join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let has_range = text.lines().any(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [owner, _, count] = fields[..] else {
                return false;
            };
            (owner == user || owner == uid.to_string())
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

/// Returns the name of a user id in `passwd`, or the id itself if it has none.
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

/// Returns the default of [`crate::Options::search_path`].
#[must_use]
pub fn default_search_path() -> OsString {
    SEARCH_PATH.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_program(path: &Path) {
        std::fs::write(path, "").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn all_missing_programs_are_in_one_message() {
        let folder = tempfile::tempdir().unwrap();
        for (program, _) in PROGRAMS.iter().filter(|(program, _)| *program != "mke2fs") {
            write_program(&folder.path().join(program));
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
        write_program(&folder.path().join("mke2fs"));
        std::fs::write(&keyring, "").unwrap();
        check(folder.path().as_os_str(), &keyring, Privilege::Root).unwrap();
    }

    #[test]
    fn subordinate_ids_are_found_by_name_or_number_and_must_be_sufficient() {
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
