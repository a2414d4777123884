//! Identities: a stored identity names one process, and never a later one with the same PID.

use std::time::{Duration, Instant};

use process::tree::{Tree, kill_tree};
use process::{Exit, Identity, Process, Signal};
use serde_json::json;
use testutils::Bystander;

use crate::role::run_as;
use crate::{sleeper, soon};

#[test]
fn stored_identity_reads_back_equal() {
    let identity = Identity::of_current().unwrap();
    let stored = serde_json::to_string(&identity).unwrap();
    assert_eq!(serde_json::from_str::<Identity>(&stored).unwrap(), identity);
    assert_eq!(
        Process::open(&identity).unwrap().unwrap().identity(),
        &identity
    );
}

#[test]
fn h06_pid_that_no_child_can_have_is_rejected() {
    for pid in [0, 1, -1, -4711, i64::from(u32::MAX), i64::MAX] {
        let forged =
            json!({"pid": pid, "start_time": 1, "boot_id": process::identity::boot_id().unwrap()});
        let error = serde_json::from_value::<Identity>(forged)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&pid.to_string()), "{error}");
    }
    assert!(Identity::of(0).is_err());
    assert!(Identity::of(1).is_err());
}

#[test]
fn h06_h28_pid_with_another_start_time_or_boot_names_no_process() {
    let bystander = Bystander::new();
    let truth = bystander.identity();
    let later = json!({"pid": truth.pid(), "start_time": truth.start_time() + 1, "boot_id": truth.boot_id()});
    let earlier = json!({"pid": truth.pid(), "start_time": truth.start_time() - 1, "boot_id": truth.boot_id()});
    let other_boot =
        json!({"pid": truth.pid(), "start_time": truth.start_time(), "boot_id": "another"});
    for forged in [later, earlier, other_boot] {
        let forged: Identity = serde_json::from_value(forged).unwrap();
        assert!(Process::open(&forged).unwrap().is_none(), "{forged:?}");
        let killed = kill_tree(&Tree::new(forged, None), Duration::from_secs(1)).unwrap();
        assert!(killed.killed.is_empty());
    }
    bystander.assert_untouched();
}

#[test]
fn h07_ended_process_is_not_opened_and_its_handle_signals_no_other() {
    let mut child = run_as("nothing", "").spawn().unwrap();
    let identity = child.identity().clone();
    assert!(child.process().wait(soon()).is_exited());
    // A zombie still has its PID, but counts as gone.
    assert!(Process::open(&identity).unwrap().is_none());
    assert!(matches!(child.wait(soon()), Exit::Exited(Some(status)) if status.success()));
    assert!(Process::open(&identity).unwrap().is_none());
    // Once reaped, another process may have the PID. The handle still refers to the process that ended.
    child.process().signal(Signal::Kill).unwrap();
    assert!(matches!(child.wait(soon()), Exit::Exited(Some(status)) if status.success()));
}

#[test]
fn killed_process_is_ending_before_it_is_gone() {
    for _ in 0..20 {
        let mut child = sleeper();
        assert!(!child.process().is_ending());
        child.process().signal(Signal::Kill).unwrap();
        assert!(child.process().is_ending());
        assert!(child.wait(soon()).is_exited());
        assert!(child.process().is_ending());
    }
}

#[tokio::test]
async fn h10_wait_that_times_out_is_not_an_exit() {
    let mut child = sleeper();
    assert!(matches!(
        child.process().wait(Instant::now()),
        Exit::TimedOut
    ));
    assert!(matches!(
        child.wait(Instant::now() + Duration::from_millis(1)),
        Exit::TimedOut
    ));
    assert!(matches!(
        child
            .wait_async(Instant::now() + Duration::from_millis(1))
            .await,
        Exit::TimedOut
    ));
    child.process().signal(Signal::Kill).unwrap();
    // Two concurrent waits for the same process.
    let (one, two) = tokio::join!(child.process().wait_async(soon()), child.process().ended());
    assert!(one.is_exited() && two.is_ok());
    assert!(
        matches!(child.wait_async(soon()).await, Exit::Exited(Some(status)) if !status.success())
    );
}
