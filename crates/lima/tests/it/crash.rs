//! Runs a part of a test in a process that is killed at a crash point. The process is this program with one ignored test.

use std::path::Path;
use std::process::{Command, Stdio};

/// The folder of the child.
pub(crate) const FOLDER: &str = "LIMA_TEST_FOLDER";

/// The end of the child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The child completed.
    Finished,
    /// The child was killed at the crash point.
    Killed,
}

/// Runs the ignored test `name` in `folder` until it is killed at `point`.
pub(crate) fn run(name: &str, folder: &Path, point: &str) -> End {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            name,
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .env(process::crash::VARIABLE, point)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match output.status.code() {
        Some(0) => End::Finished,
        None => End::Killed,
        // Windows has no signals. This is the exit code with which `process` kills.
        Some(137) if cfg!(windows) => End::Killed,
        other => panic!(
            "{name} at {point}: {other:?}\n{}",
            String::from_utf8_lossy(&output.stdout)
        ),
    }
}

/// Returns the folder that the parent chose. `None` if a user runs the ignored tests, which then do nothing.
pub(crate) fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}
