//! The shutdown of the control plane.

use std::time::Duration;

use api::lima::{condition as types, reason};
use controller_kit::Shutdown;

use crate::support::{GRACE, LONG, Plane, holder};

#[tokio::test]
async fn shutdown_can_keep_vms_running() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = holder(&plane, "vm");
    plane.stop(Shutdown::KeepWorkloads).await;
    assert!(before.is_some());
    assert_eq!(holder(&plane, "vm"), before);
    plane.start_controllers().await;
    plane.stop(Shutdown::StopWorkloads { grace: GRACE }).await;
    assert_eq!(holder(&plane, "vm"), None);
    drop(plane);
}

#[tokio::test]
async fn shutdown_deadline_can_be_shortened_and_never_lengthened() {
    // Longer than any test waits.
    let for_ever = Duration::from_secs(3600);
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.make("vm", "lingers");
    let (grace_limit, ending) = plane.begin_stop(Shutdown::StopWorkloads { grace: for_ever });
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPING)
        .await;
    grace_limit.within(Duration::ZERO);
    let by = grace_limit.deadline();
    grace_limit.within(for_ever);
    assert_eq!(grace_limit.deadline(), by);
    tokio::time::timeout(LONG, ending)
        .await
        .expect("the shutdown ends")
        .unwrap()
        .unwrap();
    assert_eq!(holder(&plane, "vm"), None);
    drop(plane);
}
