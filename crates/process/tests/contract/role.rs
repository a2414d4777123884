//! This test program, run again as a process with something to do.

use std::path::{Path, PathBuf};

use process::spawn::{Notifier, Spawn};
use process::{FileLock, file};

const ROLE: &str = "CONTRACT_ROLE";

/// This program, to be run in a role with an argument.
pub(crate) fn run_as(role: &str, arg: impl AsRef<Path>) -> Spawn {
    Spawn::new(std::env::current_exe().unwrap())
        .args(["--exact", "role::play", "--nocapture"])
        .env(ROLE, role)
        .env("CONTRACT_ARG", arg.as_ref())
}

/// Not a test: what the processes of the other tests do.
#[test]
fn play() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let arg = PathBuf::from(std::env::var_os("CONTRACT_ARG").unwrap());
    match role.as_str() {
        // Holds the lock until it is killed.
        "hold" => {
            let lock = FileLock::try_acquire(&arg, "the holder").unwrap();
            notifier()
                .ready(if lock.is_some() { "mine" } else { "taken" })
                .unwrap();
            std::thread::park();
            drop(lock);
        }
        "write" => file::write_atomic(&arg, &new_content(), 0o600).unwrap(),
        // Starts a tree and ends at once: what it started has no living parent that knows it.
        "leave" => {
            let child = Spawn::new("sh")
                .args(["-c", "setsid sleep 1000 & echo $! > pid; wait"])
                .cwd(&arg);
            let child = child.spawn().unwrap();
            file::write_atomic(
                &arg.join("tree"),
                &serde_json::to_vec(&child.tree()).unwrap(),
                0o600,
            )
            .unwrap();
        }
        "listen" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut requests = process::stop::StopRequests::listen().unwrap();
                notifier().ready("").unwrap();
                let reason = requests.next().await;
                std::fs::write(&arg, format!("{reason:?}\n")).unwrap();
            });
        }
        "mark" => std::fs::write(&arg, format!("{:?}", process::tree::Mark::of_current())).unwrap(),
        "refuse" => notifier().refused("no room\nat all").unwrap(),
        "die" => drop(notifier()),
        other => panic!("no role {other}"),
    }
}

/// The same role for a process that [`Spawn`] does not start, by way of another program.
#[cfg(target_os = "linux")]
pub(crate) fn run_below(
    program: &str,
    args: &[&str],
    role: &str,
    arg: &Path,
) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "role::play", "--nocapture"])
        .env(ROLE, role)
        .env("CONTRACT_ARG", arg);
    command
}

/// Long enough not to reach the disk in one piece.
pub(crate) fn new_content() -> Vec<u8> {
    b"new ".repeat(100_000)
}

pub(crate) const READY: &str = "CONTRACT_READY";

fn notifier() -> Notifier {
    Notifier::from_variable(&std::env::var(READY).unwrap()).unwrap()
}
