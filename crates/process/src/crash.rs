//! Crash points: named places where a test can kill the process, between the steps of every sequence that must survive a
//! crash.
//!
//! A sequence of several steps (prepare, write, rename …) calls [`point`] after each step. A test starts the real program
//! with `RDD_CRASH_POINT=prepare.after-disk`, and the process dies by SIGKILL exactly there, without running destructors
//! and without flushing anything. `NAME:3` dies the third time.
//!
//! Crash points are always compiled in, not behind a cargo feature, so that the tests kill the same program that users
//! get. An unarmed point costs one load and one branch. A user who can set the environment could kill the process anyway,
//! so this is no security risk.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names the point to die at. It is the only variable that this library reads by itself,
/// because a point must work before `main` has parsed anything, in every program of the workspace.
pub const VARIABLE: &str = "RDD_CRASH_POINT";

/// What a process writes to stderr right before it dies at a point; the point's name follows.
pub const LAST_WORD: &str = "dying at the crash point ";

struct Armed {
    name: String,
    left: AtomicU32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Kills this process by SIGKILL if [`VARIABLE`] names this point; otherwise a no-op. Names are `area.after-step`.
#[inline]
pub fn point(name: &str) {
    if let Some(armed) = ARMED.get_or_init(from_environment) {
        armed.reached(name);
    }
}

fn from_environment() -> Option<Armed> {
    Armed::parse(&std::env::var(VARIABLE).ok()?)
}

impl Armed {
    fn parse(spec: &str) -> Option<Self> {
        let (name, left) = match spec.rsplit_once(':') {
            Some((name, count)) => (name, count.parse().ok().filter(|count| *count > 0)?),
            None => (spec, 1),
        };
        (!name.is_empty()).then(|| Armed {
            name: name.to_owned(),
            left: AtomicU32::new(left),
        })
    }

    #[cold]
    fn reached(&self, name: &str) {
        if name == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // For a test that waits for this death in the log of a process that is not its child.
            let _ = writeln!(std::io::stderr(), "{LAST_WORD}{name}");
            crate::sys::die();
        }
    }
}
