//! Whether the CPUs of an emulated guest may run side by side, each in a thread of the host.
//!
//! QEMU keeps what it has translated, and throws it away when the guest writes to the code. Before 8.1 a thread reads the
//! code without a lock that would keep the others from writing to it, so what it has translated can be out of date before
//! it is kept, and then nobody throws it away (QEMU's commit deba78709ae8, "accel/tcg: Always lock pages before
//! translation"; it stands in generic code, so it concerns guests of every architecture). Linux changes its own code all
//! the time (`text_poke_bp` in `arch/x86/kernel/alternative.c`: an `int3`, then the rest, then the first byte); a CPU that
//! goes on executing the `int3` of a moment ago hangs for ever, or the kernel panics.
//!
//! Seen with two CPUs: QEMU 7.2 hangs after some 150 changes that are made on purpose while the other CPU runs through
//! that code, and in one of some hundred boots. QEMU 10.0 does it too, ten times more rarely: after some 2,000 changes,
//! and in none of our boots. There the second core is worth more than that; with 7.2 it is not. Never with one thread.

use super::abilities::Version;

/// The first version whose threads disturb each other so rarely that they may run side by side.
const GOOD_ENOUGH: Version = Version { major: 8, minor: 1 };

/// The host's threads for the CPUs of one emulated guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcgThreads {
    /// One for each.
    Multi,
    /// One for all: they take turns.
    Single,
}

impl TcgThreads {
    /// What is right for a QEMU of this version. One that does not tell its version may be any.
    #[must_use]
    pub fn of(version: Option<Version>) -> TcgThreads {
        match version {
            Some(version) if version >= GOOD_ENOUGH => TcgThreads::Multi,
            _ => TcgThreads::Single,
        }
    }

    /// The value of `-accel tcg,thread=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TcgThreads::Multi => "multi",
            TcgThreads::Single => "single",
        }
    }

    /// What the user of a guest with so many CPUs should know.
    pub(super) fn warning(self, cpus: u32, version: Option<Version>) -> Option<String> {
        if self == TcgThreads::Multi || cpus < 2 {
            return None;
        }
        let qemu = match version {
            Some(version) => format!("QEMU {version}"),
            None => "a QEMU of unknown version".into(),
        };
        Some(format!(
            "the guest's {cpus} CPUs take turns on one of the host's, because {qemu} can hang a guest whose CPUs are emulated side \
             by side; install QEMU {GOOD_ENOUGH} or newer to use more"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_by_side_only_where_it_is_known_to_go_well() {
        let of = |major, minor| TcgThreads::of(Some(Version { major, minor }));
        assert_eq!(of(7, 2), TcgThreads::Single);
        assert_eq!(of(8, 0), TcgThreads::Single);
        assert_eq!(of(8, 1), TcgThreads::Multi);
        assert_eq!(of(10, 0), TcgThreads::Multi);
        assert_eq!(TcgThreads::of(None), TcgThreads::Single);
    }

    #[test]
    fn who_loses_by_it_is_told() {
        let old = Some(Version { major: 7, minor: 2 });
        let said = TcgThreads::Single.warning(4, old).unwrap();
        assert!(
            said.contains("4 CPUs") && said.contains("QEMU 7.2"),
            "{said}"
        );
        assert!(said.contains("install QEMU 8.1 or newer"), "{said}");
        assert_eq!(TcgThreads::Single.warning(1, old), None);
        assert_eq!(TcgThreads::Multi.warning(4, None), None);
    }
}
