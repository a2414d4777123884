//! What one QEMU program supports: its version, and whether it has a sandbox.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use process::command::{CommandError, Output, Run};

/// QEMU's own sandbox: a filter of system calls (seccomp) that limits a guest which breaks out of its machine. It denies
/// what QEMU does not need: obsolete calls, other users, other programs, priorities. libvirt uses the same value.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// QEMU prints its version in 30 ms; a host that is swapping may need seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// What one QEMU program supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// `None` if the program does not print it in the usual form.
    pub version: Option<Version>,
    /// The value for `-sandbox`; `None` if this QEMU was built without it.
    pub sandbox: Option<&'static str>,
}

impl Abilities {
    /// Asks the program. If it does not answer, it supports nothing, and its start will say why.
    pub(super) async fn of(program: &Path) -> Abilities {
        // A QEMU without the sandbox refuses the option even before `-version`, because `system/vl.c` parses in order.
        if cfg!(target_os = "linux") {
            match ask(program, &["-sandbox", SANDBOX, "-version"]).await {
                Ok(output) => {
                    return Abilities {
                        version: Version::parse(&output.stdout),
                        sandbox: Some(SANDBOX),
                    };
                }
                Err(error) => {
                    tracing::info!(%error, "this QEMU has no sandbox; the VM runs without one");
                }
            }
        }
        let answer = ask(program, &["-version"]).await;
        Abilities {
            version: answer
                .ok()
                .and_then(|output| Version::parse(&output.stdout)),
            sandbox: None,
        }
    }
}

async fn ask(program: &Path, args: &[&str]) -> Result<Output, CommandError> {
    Run::new(program, DEADLINE).args(args).run_async().await
}

/// QEMU's version without the third number, which counts bug-fix releases.
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
    fn parse(stdout: &[u8]) -> Option<Version> {
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

    fn parsed(text: &str) -> Option<(u32, u32)> {
        Version::parse(text.as_bytes()).map(|v| (v.major, v.minor))
    }

    #[test]
    fn version_is_parsed_from_the_output_of_each_distribution() {
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
            assert_eq!(parsed(&format!("{line}\n{rest}")), Some(version), "{line}");
        }
    }

    #[test]
    fn other_text_has_no_version() {
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
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(Version::parse(b"QEMU emulator version \xff8.1"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        let v = |major, minor| Version { major, minor };
        assert!(v(10, 0) > v(9, 2));
        assert!(v(8, 10) > v(8, 9));
        assert!(v(8, 0) < v(8, 1));
    }
}
