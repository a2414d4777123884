//! What every implementation of this crate must do, on real processes: the same on Unix and on Windows (and under Wine,
//! where `scripts/test-windows` runs it). The tests named after hazards (`h07_…`) provoke the one of that number.
//!
//! What has no counterpart on the other system says so where its `cfg` stands, or is in `contract/unix.rs` and
//! `tests/windows.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a test fails"
)]

#[path = "contract/command.rs"]
mod command;
#[cfg(target_os = "linux")]
#[path = "contract/contained.rs"]
mod contained;
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
#[cfg(unix)]
#[path = "contract/unix.rs"]
mod unix;

use std::path::Path;
use std::time::{Duration, Instant};

use process::spawn::{Child, Spawn, Start};
use process::{Identity, Process};

/// Longer than anything here takes on a busy machine; reached by failing tests only.
const PATIENCE: Duration = Duration::from_secs(60);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Starts a role that tells when it is ready, and returns what it told.
fn ready(spawn: Spawn) -> (Child, String) {
    let mut child = spawn.readiness(role::READY).spawn().unwrap();
    match child.readiness().unwrap().wait(soon()) {
        Start::Ready(word) => (child, word),
        other => panic!("{other:?}"),
    }
}

/// A process that does nothing, has done its first steps, and ends only when it is made to.
fn sleeper() -> Child {
    ready(role::run_as("sleep", "")).0
}

/// The process that wrote who it is into `file` (a role, see [`role::tell`]).
fn process_in(file: &Path) -> Process {
    let line = wait_for_file(file);
    let identity: Identity = serde_json::from_str(&line).unwrap();
    Process::open(&identity).unwrap().unwrap()
}

fn wait_for_file(file: &Path) -> String {
    testutils::poll(PATIENCE, &file.display().to_string(), || {
        std::fs::read_to_string(file)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .ok_or("not there, or not whole")
    })
}
