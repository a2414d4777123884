//! What this QEMU is and can: its version, and whether it can lock itself in.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use process::command::{CommandError, Output, Run};

/// QEMU's own sandbox: a filter of system calls (seccomp) that a guest which breaks out of its machine meets first. What
/// QEMU has no business with: obsolete calls, other users, other programs, priorities. As libvirt says it.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// QEMU says its version in 30 ms; a host that is swapping may need seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// What one program is and can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// `None` when it does not say, or not in the usual words.
    pub version: Option<Version>,
    /// The value for `-sandbox`; `None` when this QEMU was built without.
    pub sandbox: Option<&'static str>,
}

impl Abilities {
    /// Asks the program. One that does not answer has none: its start will say why.
    pub(super) async fn of(program: &Path) -> Abilities {
        // A QEMU without the sandbox refuses the option, also before `-version`: `system/vl.c` parses in order.
        if cfg!(target_os = "linux") {
            match ask(program, &["-sandbox", SANDBOX, "-version"]).await {
                Ok(output) => {
                    return Abilities {
                        version: Version::told_by(&output.stdout),
                        sandbox: Some(SANDBOX),
                    };
                }
                Err(error) => {
                    tracing::info!(%error, "this QEMU has no sandbox; the VM runs without");
                }
            }
        }
        let told = ask(program, &["-version"]).await;
        Abilities {
            version: told
                .ok()
                .and_then(|output| Version::told_by(&output.stdout)),
            sandbox: None,
        }
    }
}

async fn ask(program: &Path, args: &[&str]) -> Result<Output, CommandError> {
    Run::new(program, DEADLINE).args(args).run_async().await
}

/// QEMU's version; the third number only mends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl Version {
    /// Reads `-version`'s first line: "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)" (`version()` in
    /// `system/vl.c`).
    fn told_by(stdout: &[u8]) -> Option<Version> {
        let text = std::str::from_utf8(stdout).ok()?;
        let (_, after) = text.lines().next()?.split_once(" version ")?;
        let mut numbers = after.split(|c: char| !c.is_ascii_digit());
        Some(Version {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<(u32, u32)> {
        Version::told_by(text.as_bytes()).map(|v| (v.major, v.minor))
    }

    #[test]
    fn a_version_is_read_from_what_distributions_print() {
        let rest = "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers\n";
        for (line, version) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
                (7, 2),
            ),
            ("QEMU emulator version 10.0.2", (10, 0)),
            ("QEMU emulator version 8.1.0 (qemu-8.1.0-1.fc39)", (8, 1)),
            ("QEMU emulator version 9.0.93 (v9.1.0-rc3-dirty)", (9, 0)),
            (
                "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)\r",
                (6, 2),
            ),
        ] {
            assert_eq!(told(&format!("{line}\n{rest}")), Some(version), "{line}");
        }
    }

    #[test]
    fn other_words_are_no_version() {
        for text in [
            "",
            "QEMU",
            "QEMU emulator version",
            "QEMU emulator version ",
            "QEMU emulator version eight.one",
            "QEMU emulator version 8",
            "QEMU emulator version 99999999999.0",
            "something else\nQEMU emulator version 8.1.0",
        ] {
            assert_eq!(told(text), None, "{text:?}");
        }
        assert_eq!(Version::told_by(b"QEMU emulator version \xff8.1"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        let v = |major, minor| Version { major, minor };
        assert!(v(10, 0) > v(9, 2));
        assert!(v(8, 10) > v(8, 9));
        assert!(v(8, 0) < v(8, 1));
    }
}
