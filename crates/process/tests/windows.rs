//! The part of the contract that Windows has its own means for, to be run there or under Wine.
#![cfg(windows)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::command::{CommandError, Run};
use process::lock::{self, Holder};
use process::spawn::{Child, Notifier, Spawn, Start};
use process::tree::{Killed, Patience, Stopped, Tree, kill_tree, stop};
use process::{FileLock, Identity, Process, Signal, file};

const PATIENCE: Duration = Duration::from_secs(60);
const READY: &str = "CONTRACT_READY";

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn run_as(role: &str, arg: &Path) -> Spawn {
    Spawn::new(std::env::current_exe().unwrap())
        .args(["--exact", "play", "--nocapture"])
        .env("CONTRACT_ROLE", role)
        .env("CONTRACT_ARG", arg)
}

fn ready(spawn: Spawn) -> (Child, String) {
    let mut child = spawn.readiness(READY).spawn().unwrap();
    match child.readiness().unwrap().wait(soon()) {
        Start::Ready(word) => (child, word),
        other => panic!("{other:?}"),
    }
}

/// Not a test: what the processes of the other tests do.
#[test]
fn play() {
    let Ok(role) = std::env::var("CONTRACT_ROLE") else {
        return;
    };
    let arg = PathBuf::from(std::env::var_os("CONTRACT_ARG").unwrap());
    let notifier = std::env::var(READY)
        .ok()
        .map(|value| Notifier::from_variable(&value).unwrap());
    let ready = |word: &str| notifier.map(|notifier| notifier.ready(word).unwrap());
    match role.as_str() {
        "hold" => {
            let lock = FileLock::try_acquire(&arg, "the holder").unwrap();
            ready(if lock.is_some() { "mine" } else { "taken" });
            std::thread::park();
        }
        // Starts a parent of a child, and tells who they are.
        "root" => {
            let (parent, child) = self::ready(run_as("parent", &arg));
            let parent = serde_json::to_string(parent.identity()).unwrap();
            ready(&format!("[{parent},{child}]"));
            std::thread::park();
        }
        "parent" => {
            let (child, _) = self::ready(run_as("rest", &arg));
            ready(&serde_json::to_string(child.identity()).unwrap());
            std::thread::park();
        }
        "rest" => {
            ready("");
            std::thread::park();
        }
        "listen" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut requests = process::stop::StopRequests::listen().unwrap();
                ready("");
                requests.next().await;
            });
        }
        other => panic!("no role {other}"),
    }
}

#[test]
fn h03_h04_the_job_holds_those_whose_parent_died_first() {
    let folder = tempfile::tempdir().unwrap();
    let (root, word) = ready(run_as("root", folder.path()));
    let below: [Identity; 2] = serde_json::from_str(&word).unwrap();
    let [parent, child] = below.map(|identity| Process::open(&identity).unwrap().unwrap());
    parent.signal(Signal::Kill).unwrap();
    assert!(parent.wait(soon()).is_exited());
    assert!(child.is_running());
    let killed = kill_tree(&root.tree(), Duration::ZERO).unwrap();
    assert!(killed.killed.contains(child.identity()), "{killed:?}");
    assert!(!child.is_running() && !root.process().is_running());
    assert_eq!(
        kill_tree(&root.tree(), Duration::ZERO).unwrap(),
        Killed::default()
    );
}

#[test]
fn h06_a_number_with_another_creation_time_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _) = ready(run_as("rest", folder.path()));
    let mut forged = serde_json::to_value(child.identity()).unwrap();
    forged["start_time"] = 1.into();
    let forged: Identity = serde_json::from_value(forged).unwrap();
    assert!(Process::open(&forged).unwrap().is_none());
    kill_tree(&Tree::new(forged, None), Duration::ZERO).unwrap();
    assert!(child.process().is_running());
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
}

#[test]
fn h34_the_lock_tells_its_holder_while_it_is_held_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ha.lock");
    let (mut holder, word) = ready(run_as("hold", &path));
    assert_eq!(word, "mine");
    assert!(FileLock::try_acquire(&path, "me").unwrap().is_none());
    let Holder::Held(Some(info)) = lock::holder(&path).unwrap() else {
        panic!("nobody?")
    };
    assert_eq!(
        (&info.identity, info.label.as_str()),
        (holder.identity(), "the holder")
    );
    kill_tree(&holder.tree(), Duration::ZERO).unwrap();
    assert!(holder.wait(soon()).is_exited());
    let mine = FileLock::acquire(&path, "me", soon()).unwrap();
    drop(mine);
    assert_eq!(lock::holder(&path).unwrap(), Holder::Free);
}

#[tokio::test]
async fn h12_a_named_event_asks_and_force_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _) = ready(run_as("listen", folder.path()));
    let patience = Patience {
        request: PATIENCE,
        signal: PATIENCE,
    };
    let ask = async { process::stop::ask(child.process()) };
    assert_eq!(
        stop(&child.tree(), patience, ask).await.unwrap(),
        Stopped::OnRequest
    );
    let (deaf, _) = ready(run_as("rest", folder.path()));
    let patience = Patience {
        request: PATIENCE,
        signal: Duration::from_millis(50),
    };
    let ask = async { process::stop::ask(deaf.process()) };
    assert_eq!(
        stop(&deaf.tree(), patience, ask).await.unwrap(),
        Stopped::ByForce
    );
}

#[test]
fn h08_a_helper_that_never_returns_is_killed() {
    let helper = |timeout| {
        Run::new(std::env::current_exe().unwrap(), timeout)
            .args(["--exact", "play", "--nocapture"])
            .env("CONTRACT_ARG", "x")
    };
    let error = helper(Duration::from_millis(500))
        .env("CONTRACT_ROLE", "rest")
        .run()
        .unwrap_err();
    assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
    assert!(helper(PATIENCE).run().unwrap().text().contains("1 passed"));
}

#[test]
fn h42_a_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    file::write_atomic(&path, b"old", 0o600).unwrap();
    file::write_atomic(&path, b"new", 0o600).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
