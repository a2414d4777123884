//! Whether the CPUs of an emulated guest may run in parallel, each in a thread of the host.
//!
//! QEMU caches translated code and discards it when the guest writes to the original. Before 8.1 a thread reads the
//! original without a lock that would keep other threads from writing to it, so a translation can be stale before it is
//! cached, and is then never discarded (QEMU's commit deba78709ae8, "accel/tcg: Always lock pages before translation"; it
//! is in generic code, so it concerns guests of every architecture). Linux patches its own code all the time
//! (`text_poke_bp` in `arch/x86/kernel/alternative.c`: an `int3`, then the rest, then the first byte); a CPU that keeps
//! executing a stale `int3` hangs for ever, or the kernel panics.
//!
//! Measured with two CPUs: QEMU 7.2 hangs after some 150 deliberate patches while the other CPU executes the patched code,
//! and in one of some hundred boots. QEMU 10.0 hangs too, ten times more rarely: after some 2,000 patches, and in none of
//! our boots. With 10.0 the second core is worth that risk; with 7.2 it is not. With one thread it never hangs.

use super::abilities::Version;

/// The first version that hangs so rarely that the CPUs may run in parallel.
const GOOD_ENOUGH: Version = Version { major: 8, minor: 1 };

/// How many of the host's threads run the CPUs of one emulated guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcgThreads {
    /// One thread for each CPU.
    Multi,
    /// One thread for all CPUs, which take turns.
    Single,
}

impl TcgThreads {
    /// Returns the setting for a QEMU of this version; a QEMU of unknown version counts as old.
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

    /// The warning for the user of a guest with `cpus` CPUs, if they take turns.
    pub(super) fn warning(self, cpus: u32, version: Option<Version>) -> Option<String> {
        if self == TcgThreads::Multi || cpus < 2 {
            return None;
        }
        let qemu = match version {
            Some(version) => format!("QEMU {version}"),
            None => "a QEMU of unknown version".into(),
        };
        Some(format!(
            "the guest's {cpus} CPUs take turns on one CPU of the host, because {qemu} can hang a guest whose CPUs are emulated \
             in parallel; install QEMU {GOOD_ENOUGH} or newer to use more"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_run_in_parallel_only_with_new_versions() {
        let of = |major, minor| TcgThreads::of(Some(Version { major, minor }));
        assert_eq!(of(7, 2), TcgThreads::Single);
        assert_eq!(of(8, 0), TcgThreads::Single);
        assert_eq!(of(8, 1), TcgThreads::Multi);
        assert_eq!(of(10, 0), TcgThreads::Multi);
        assert_eq!(TcgThreads::of(None), TcgThreads::Single);
    }

    #[test]
    fn only_guests_with_several_cpus_get_the_warning() {
        let old = Some(Version { major: 7, minor: 2 });
        let warning = TcgThreads::Single.warning(4, old).unwrap();
        assert!(
            warning.contains("4 CPUs") && warning.contains("QEMU 7.2"),
            "{warning}"
        );
        assert!(warning.contains("install QEMU 8.1 or newer"), "{warning}");
        assert_eq!(TcgThreads::Single.warning(1, old), None);
        assert_eq!(TcgThreads::Multi.warning(4, None), None);
    }
}
