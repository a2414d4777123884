//! Asking first.

use std::time::Duration;

use process::spawn::{Child, Spawn, Start};
use process::tree::{Patience, Stopped, stop};
use process::{Process, Signal};

use crate::role::{READY, run_as};
use crate::{PATIENCE, soon, wait_for_file};

const LONG: Patience = Patience {
    request: PATIENCE,
    signal: PATIENCE,
};
const SHORT: Patience = Patience {
    request: Duration::from_millis(50),
    signal: Duration::from_millis(50),
};

fn sleeper() -> Child {
    Spawn::new("sleep").arg("1000").spawn().unwrap()
}

/// Ignores everything that can be ignored.
fn stubborn(folder: &std::path::Path) -> Child {
    let script = "trap '' TERM INT HUP; echo > ready; while :; do sleep 1000; done";
    let child = Spawn::new("sh")
        .args(["-c", script])
        .cwd(folder)
        .spawn()
        .unwrap();
    wait_for_file(&folder.join("ready"));
    child
}

#[tokio::test]
async fn h17_each_step_is_tried_and_none_takes_for_ever() {
    let hung = std::future::pending::<Result<(), String>>();
    let refused = async { Err("no socket") };
    let deaf = async { Ok::<(), String>(()) };

    let child = sleeper();
    let obeys = async { child.process().signal(Signal::Kill) };
    assert_eq!(
        stop(&child.tree(), LONG, obeys).await.unwrap(),
        Stopped::OnRequest
    );
    let child = sleeper();
    assert_eq!(
        stop(&child.tree(), LONG, refused).await.unwrap(),
        Stopped::OnSignal
    );
    let child = sleeper();
    let patience = Patience {
        request: SHORT.request,
        ..LONG
    };
    assert_eq!(
        stop(&child.tree(), patience, deaf).await.unwrap(),
        Stopped::OnSignal
    );
    let folder = tempfile::tempdir().unwrap();
    let child = stubborn(folder.path());
    assert_eq!(
        stop(&child.tree(), SHORT, hung).await.unwrap(),
        Stopped::ByForce
    );
    assert!(!child.process().is_running());
    assert_eq!(
        stop(&child.tree(), LONG, async { Ok::<(), String>(()) })
            .await
            .unwrap(),
        Stopped::WasGone
    );
}

#[tokio::test]
async fn h03_what_an_obedient_process_leaves_is_ended_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > below; trap exit INT; wait";
    let child = Spawn::new("sh")
        .args(["-c", script])
        .cwd(folder.path())
        .spawn()
        .unwrap();
    wait_for_file(&folder.path().join("below"));
    let ask = async { child.process().signal(Signal::Kill) };
    assert_eq!(
        stop(&child.tree(), LONG, ask).await.unwrap(),
        Stopped::OnRequest
    );
    assert!(child.tree().members().unwrap().is_empty());
}

#[test]
fn h12_a_request_to_stop_is_heard_without_a_terminal() {
    for (signal, heard) in [
        (None, "Requested"),
        (Some(Signal::Interrupt), "Interrupted"),
        (Some(Signal::Hangup), "TerminalClosed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heard");
        let mut child = run_as("listen", &file).readiness(READY).spawn().unwrap();
        assert!(matches!(
            child.readiness().unwrap().wait(soon()),
            Start::Ready(_)
        ));
        let process = Process::open(child.identity()).unwrap().unwrap();
        match signal {
            None => process::stop::ask(&process).unwrap(),
            Some(signal) => process.signal(signal).unwrap(),
        }
        assert_eq!(wait_for_file(&file), format!("{heard}\n"));
        assert!(child.wait(soon()).is_exited());
    }
}
