//! Runs a part of a test in a process of its own that dies at a crash point: this very program, asked to run one
//! ignored test.

use std::path::Path;
use std::process::{Command, Stdio};

/// The folder that the child works in.
pub(crate) const FOLDER: &str = "LIMA_TEST_FOLDER";

/// How the child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It came to its end.
    Finished,
    /// It died at the crash point.
    Killed,
}

/// Runs the ignored test `name` in `folder`, to die at `point`.
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
        // Windows has no signals: the exit code with which `process` kills.
        Some(137) if cfg!(windows) => End::Killed,
        other => panic!(
            "{name} at {point}: {other:?}\n{}",
            String::from_utf8_lossy(&output.stdout)
        ),
    }
}

/// The folder that the parent chose; for the ignored tests, which do nothing when somebody runs them by hand.
pub(crate) fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}
