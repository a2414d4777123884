//! A process of the same user that has nothing to do with rdd (hazard 6).

use std::path::Path;
use std::time::Duration;

use process::spawn::Child;
use process::{Identity, tree};
use tempfile::TempDir;

use crate::sys;

/// Runs until it is dropped. A test writes its PID into a file of rdd, and asserts at the end that the process was not
/// signalled.
#[derive(Debug)]
pub struct Bystander {
    child: Child,
    folder: TempDir,
    _held: sys::Held,
}

impl Bystander {
    /// Starts one and waits until it records signals.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self::within(std::env::temp_dir())
    }

    /// A bystander whose records are in a folder below `parent`, for tests that may be killed and whose `parent` is removed.
    #[must_use]
    pub fn within(parent: impl AsRef<Path>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bystander")
            .tempdir_in(parent)
            .expect("a temporary folder");
        let (child, held) = sys::bystander(folder.path());
        Bystander {
            child,
            folder,
            _held: held,
        }
    }

    /// The PID, for forged PID files.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.identity().pid()
    }

    /// The identity of the process.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.child.identity()
    }

    /// Panics if the process was killed, stopped, or sent a signal that can be caught.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert!(
            self.child.process().is_running(),
            "the bystander {} was killed",
            self.pid()
        );
        let signals =
            std::fs::read_to_string(self.folder.path().join("signals")).unwrap_or_default();
        assert!(
            signals.is_empty(),
            "the bystander {} was sent {}",
            self.pid(),
            signals.replace('\n', " ")
        );
        #[cfg(target_os = "linux")]
        {
            let state =
                std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
            assert!(
                !state.contains("T (stopped)"),
                "the bystander {} was stopped",
                self.pid()
            );
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        if let Err(error) = tree::kill_tree(&self.child.tree(), Duration::ZERO) {
            eprintln!("cannot kill a bystander: {error}");
        }
    }
}
