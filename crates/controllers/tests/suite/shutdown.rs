//! The end of the control plane.

use std::time::Duration;

use api::lima::{condition as types, reason};
use controllers::Shutdown;

use crate::support::{GRACE, Plane, condition, holder};

#[tokio::test]
async fn h31_all_vms_are_stopped_at_once_and_start_again_with_the_next_control_plane() {
    let mut plane = Plane::start().await;
    let names = ["a", "b", "c"];
    for name in names {
        plane.create(name, true).await;
    }
    for name in names {
        plane
            .wait_reason(name, types::RUNNING, reason::STARTED)
            .await;
        // None of them listens, so each takes its whole grace and more.
        std::fs::write(plane.dir(name).join("deaf"), "").unwrap();
    }
    let grace = Duration::from_secs(1);
    // One after another they would not fit into the time that the manager has; what is left then would hold its lock.
    plane.stop(Shutdown::StopVms { grace }).await;
    for name in names {
        assert_eq!(holder(&plane, name), None, "{name}");
        let vm = plane.get(name).await;
        assert_eq!(
            condition(&vm, types::RUNNING).reason,
            reason::STOPPED,
            "{name}"
        );
        assert!(vm.spec.running, "what is wanted is the owner's to say");
        std::fs::remove_file(plane.dir(name).join("deaf")).unwrap();
    }
    plane.start_controllers().await;
    for name in names {
        plane
            .wait_reason(name, types::RUNNING, reason::STARTED)
            .await;
    }
    plane.end().await;
}

#[tokio::test]
async fn vms_can_be_kept() {
    let mut plane = Plane::start().await;
    plane.create("vm", true).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    let before = holder(&plane, "vm");
    plane.stop(Shutdown::KeepVms).await;
    assert!(before.is_some());
    assert_eq!(holder(&plane, "vm"), before);
    plane.start_controllers().await;
    plane.stop(Shutdown::StopVms { grace: GRACE }).await;
    assert_eq!(holder(&plane, "vm"), None);
    drop(plane);
}
