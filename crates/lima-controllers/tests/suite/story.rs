//! What users see of a VM: its status and its events.

use api::lima::{condition as types, reason};
use kube::ResourceExt;

use crate::fake_hostagent::{PORT, SLOW};
use crate::support::{Plane, condition, holder, status};

#[tokio::test]
async fn status_and_events_show_processes_phases_and_history() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let vm = plane
        .wait("vm", "described completely", |vm| {
            status(vm).phases.iter().all(|p| p.duration.is_some())
        })
        .await;
    let up = status(&vm);
    let pid = holder(&plane, "vm").map(|identity| i64::from(identity.pid()));
    let hostagent = up.hostagent.unwrap();
    assert_eq!(Some(hostagent.pid), pid);
    assert_eq!(hostagent.start_time.unwrap().0.as_second(), 1_700_000_000);
    assert_eq!(up.ssh_local_port, Some(PORT));
    let names = |status: &api::LimaVMStatus| -> Vec<String> {
        status.phases.iter().map(|p| p.name.clone()).collect()
    };
    assert_eq!(names(&status(&vm)), ["creating", "booting"]);
    assert_eq!(up.last_error, None);
    assert!(
        !condition(&vm, types::RUNNING).message.contains(SLOW),
        "it is recorded once, not at each start"
    );

    plane.make("vm", "lingers");
    plane.set_running("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPING)
        .await;
    assert_eq!(condition(&vm, types::RUNNING).status, "Unknown");
    plane.heal("vm", "lingers");
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    let down = status(&vm);
    assert_eq!(
        (&down.hostagent, &down.machine, down.ssh_local_port),
        (&None, &None, None)
    );
    assert_eq!(names(&down), ["creating", "booting", "stopping"]);
    assert!(down.phases.iter().all(|phase| phase.duration.is_some()));

    // The second round raises the counts of the first round's events.
    plane.set_running("vm", true).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    let vm = plane.get("vm").await;
    assert_eq!(names(&status(&vm)), ["creating", "stopping", "booting"]);
    let all = [
        "Creating", "Created", "Starting", "Booting", "Started", "Stopping", "Stopped", "Emulated",
    ];
    plane.wait_events("vm", &all).await;
    let events = testutils::poll_async(crate::support::LONG, "two starts", async || {
        let events = plane.wait_events("vm", &all).await;
        let started: Vec<_> = events
            .iter()
            .filter(|event| event.reason.as_deref() == Some(reason::STARTED))
            .collect();
        match started[..] {
            [one] if one.count == Some(2) => Ok(events),
            _ => Err(format!("{started:?}")),
        }
    })
    .await;
    let emulated: Vec<_> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("Emulated"))
        .collect();
    assert_eq!(emulated.len(), 1);
    assert_eq!(emulated[0].count, Some(1));
    assert_eq!(emulated[0].message.as_deref(), Some(SLOW));
    let uid = vm.uid();
    assert!(
        events.iter().all(|event| event.involved_object.uid == uid),
        "kubectl describe finds them"
    );
    plane.end().await;
}

#[tokio::test]
async fn h30_degraded_vm_is_reported_and_so_is_its_recovery() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let degraded = |vm: &api::LimaVM| {
        let running = condition(vm, types::RUNNING);
        running.reason == reason::STARTED && running.message.contains("sshd is silent")
    };
    plane.make_with("vm", "degraded", "sshd is silent");
    plane.wait("vm", "degraded", degraded).await;
    plane.wait_events("vm", &["Degraded"]).await;
    // It recovers while no controller runs.
    plane.crash().await;
    plane.heal("vm", "degraded");
    plane.start_controllers().await;
    plane.wait("vm", "well", |vm| !degraded(vm)).await;
    plane.wait_events("vm", &["Degraded", "Recovered"]).await;
    assert_eq!(status(&plane.get("vm").await).restart_count, 1);
    plane.end().await;
}

#[tokio::test]
async fn h27_new_controller_writes_no_status_of_a_vm_that_runs_on() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = plane
        .wait("vm", "settled", |vm| {
            status(vm).phases.iter().all(|p| p.duration.is_some())
        })
        .await;
    for _ in 0..2 {
        plane.crash().await;
        plane.start_controllers().await;
        // Only the new controller can do this, so it shows that the controller has looked.
        plane.create_stopped("other").await;
        plane.delete("other").await;
        plane.wait_gone("other").await;
    }
    let after = plane.get("vm").await;
    assert_eq!(after.resource_version(), before.resource_version());
    plane.end().await;
}
