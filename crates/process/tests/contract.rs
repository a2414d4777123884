//! The behaviour that every implementation of this crate must have, tested on real processes on Unix and on Windows (and
//! under Wine, with `scripts/test-windows`). A test with a number in its name (`h07_…`) provokes the hazard of that number.
//!
//! A test without a counterpart on the other system has a comment at its `cfg`, or is in `contract/unix.rs` or
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

/// The limit of every wait: longer than any step takes on a busy machine, so only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Starts a role that reports when it is ready, and returns its message.
fn ready(spawn: Spawn) -> (Child, String) {
    let mut child = spawn.readiness(role::READY).spawn().unwrap();
    match child.readiness().unwrap().wait(soon()) {
        Start::Ready(word) => (child, word),
        other => panic!("{other:?}"),
    }
}

/// Starts a process that is ready, does nothing, and runs until it is killed.
fn sleeper() -> Child {
    ready(role::run_as("sleep", "")).0
}

/// Opens the process that wrote its identity into `file` (a role, see [`role::report`]).
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
