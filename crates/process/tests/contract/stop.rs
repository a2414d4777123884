//! Asking first.

use std::time::Duration;

use process::spawn::Child;
use process::tree::{Patience, Stopped, stop};
use process::{Process, Signal};

use crate::role::run_as;
use crate::{PATIENCE, process_in, ready, sleeper, wait_for_file};

const LONG: Patience = Patience {
    request: PATIENCE,
    signal: PATIENCE,
};
const SHORT: Patience = Patience {
    request: Duration::from_millis(50),
    signal: Duration::from_millis(50),
};

/// Ends when it is asked to (SIGTERM, the named event).
fn obedient() -> Child {
    ready(run_as("listen", "")).0
}

/// Hears every request and follows none.
fn stubborn() -> Child {
    ready(run_as("ignore", "")).0
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
    let child = obedient();
    assert_eq!(
        stop(&child.tree(), LONG, refused).await.unwrap(),
        Stopped::OnSignal
    );
    let child = obedient();
    let patience = Patience {
        request: SHORT.request,
        ..LONG
    };
    assert_eq!(
        stop(&child.tree(), patience, deaf).await.unwrap(),
        Stopped::OnSignal
    );
    let child = stubborn();
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
    let child = run_as("family", folder.path()).spawn().unwrap();
    let below = ["middle", "stays", "leaves"].map(|name| process_in(&folder.path().join(name)));
    let ask = async { child.process().signal(Signal::Kill) };
    assert_eq!(
        stop(
            &child.tree(),
            Patience {
                signal: SHORT.signal,
                ..LONG
            },
            ask
        )
        .await
        .unwrap(),
        Stopped::OnRequest
    );
    assert!(child.tree().members().unwrap().is_empty());
    assert!(!below.iter().any(Process::is_running));
}

#[test]
fn h12_a_request_to_stop_is_heard_without_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _) = ready(run_as("listen", folder.path().join("one")));
    let process = Process::open(child.identity()).unwrap().unwrap();
    process::stop::ask(&process).unwrap();
    assert_eq!(
        wait_for_file(&folder.path().join("one.heard")),
        "Requested\n"
    );
    assert!(process.wait(crate::soon()).is_exited());
    // Asked again: gone is success.
    process::stop::ask(&process).unwrap();
}
