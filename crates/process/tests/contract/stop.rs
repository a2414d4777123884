//! Stopping a process: a request first, then SIGTERM, then SIGKILL.

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

/// Starts a process that ends on a stop request (SIGTERM, the named event).
fn obedient() -> Child {
    ready(run_as("listen", "")).0
}

/// Starts a process that receives every stop request and ignores it.
fn stubborn() -> Child {
    ready(run_as("ignore", "")).0
}

#[tokio::test]
async fn h17_stop_tries_each_step_for_a_bounded_time() {
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
async fn h03_stop_also_kills_what_an_obedient_process_leaves() {
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
fn h12_stop_request_arrives_without_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _) = ready(run_as("listen", folder.path().join("one")));
    let process = Process::open(child.identity()).unwrap().unwrap();
    process::stop::ask(&process).unwrap();
    assert_eq!(
        wait_for_file(&folder.path().join("one.heard")),
        "Requested\n"
    );
    assert!(process.wait(crate::soon()).is_exited());
    // A request to a process that is gone is a success.
    process::stop::ask(&process).unwrap();
}
