//! What every implementation of this crate must do, on real processes. The tests named after hazards (`h07_…`) provoke
//! the one of that number.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

#[path = "contract/command.rs"]
mod command;
#[path = "contract/file.rs"]
mod file;
#[path = "contract/identity.rs"]
mod identity;
#[path = "contract/lock.rs"]
mod lock;
#[path = "contract/role.rs"]
mod role;
#[path = "contract/spawn.rs"]
mod spawn;
#[path = "contract/stop.rs"]
mod stop;
#[path = "contract/tree.rs"]
mod tree;

use std::path::Path;
use std::time::{Duration, Instant};

use process::{Identity, Process};

/// Longer than anything here takes on a busy machine; reached by failing tests only.
const PATIENCE: Duration = Duration::from_secs(30);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// The process whose PID a script wrote, a line by itself, into `file`.
fn process_in(file: &Path) -> Process {
    testutils::poll(PATIENCE, &format!("a PID in {}", file.display()), || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let pid: u32 = text
            .strip_suffix('\n')
            .and_then(|line| line.parse().ok())
            .ok_or(format!("{text:?}"))?;
        let identity = Identity::of(pid)
            .unwrap()
            .ok_or(format!("{pid} is nobody"))?;
        Process::open(&identity)
            .unwrap()
            .ok_or(format!("{pid} has ended"))
    })
}

fn wait_for_file(file: &Path) -> String {
    testutils::poll(PATIENCE, &file.display().to_string(), || {
        std::fs::read_to_string(file)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .ok_or("not there, or not whole")
    })
}
