//! Where a test may kill us: named points between the steps of every sequence that must survive a crash.
//!
//! A sequence of several steps (prepare, write, rename …) calls [`point`] after each. A test starts the real program
//! with `RDD_CRASH_POINT=prepare.after-disk` and finds it dead by SIGKILL exactly there, with no destructor run and
//! nothing flushed, as after a power cut of the process. `NAME:3` dies the third time.
//!
//! Compiled in always and not behind a cargo feature: what the tests kill is then the very program that users get, and
//! nothing is built twice. An unarmed point costs one load and one branch. Whoever can set our environment could kill
//! us anyway, so this opens no door.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names the point to die at. The one variable that this library reads by itself:
/// a point must work before `main` has parsed anything, in every program of the workspace.
pub const VARIABLE: &str = "RDD_CRASH_POINT";

/// What a process writes to its standard error right before it dies at a point; the point's name follows.
pub const LAST_WORD: &str = "dying at the crash point ";

struct Armed {
    name: String,
    left: AtomicU32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Dies here, by SIGKILL, when [`VARIABLE`] names this point; does nothing otherwise. Names are `area.after-step`.
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
            // For whoever waits for this death, and reads the log of a process that is no child of his.
            let _ = writeln!(std::io::stderr(), "{LAST_WORD}{name}");
            crate::sys::die();
        }
    }
}
