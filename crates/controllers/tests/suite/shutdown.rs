//! The end of the control plane.

use controllers::Shutdown;

use crate::support::{GRACE, Plane, holder};

#[tokio::test]
async fn vms_can_be_kept() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = holder(&plane, "vm");
    plane.stop(Shutdown::KeepVms).await;
    assert!(before.is_some());
    assert_eq!(holder(&plane, "vm"), before);
    plane.start_controllers().await;
    plane.stop(Shutdown::StopVms { grace: GRACE }).await;
    assert_eq!(holder(&plane, "vm"), None);
    drop(plane);
}
