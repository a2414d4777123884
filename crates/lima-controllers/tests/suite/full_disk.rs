//! An API server that can write nothing (hazard 47), and states that flap (hazard 55).

use api::lima::{condition as types, reason};
use futures::StreamExt;
use hostagent::client::observe;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use lima::layout::InstanceDir;
use testutils::poll_async;

use crate::support::{LONG, Plane, condition, holder};

#[tokio::test]
async fn h47_vm_is_stopped_although_its_status_cannot_be_written() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.refuse_controller_writes(true);
    plane.set_running("vm", false).await;
    poll_async(LONG, "the end of the hostagent", async || {
        holder(&plane, "vm").map_or(Ok(()), |holder| Err(format!("{holder:?}")))
    })
    .await;
    plane.refuse_controller_writes(false);
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    plane.end().await;
}

#[tokio::test]
async fn h47_files_are_deleted_although_the_status_cannot_be_written() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.refuse_controller_writes(true);
    plane.delete("vm").await;
    poll_async(LONG, "the folder to be gone", async || {
        match plane.dir("vm").exists() {
            true => Err("it is there"),
            false => Ok(()),
        }
    })
    .await;
    plane.refuse_controller_writes(false);
    plane.wait_gone("vm").await;
    plane.end().await;
}

#[tokio::test]
async fn h55_state_that_flaps_is_written_at_a_limited_rate_and_the_last_one_is_shown() {
    /// More than twice as many as may be written in a row.
    const CHANGES: usize = 60;
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let mut writes = watcher(plane.vms(), watcher::Config::default())
        .applied_objects()
        .boxed();
    let dir = InstanceDir::at(plane.dir("vm"), "vm");
    for change in 0..CHANGES {
        let text = format!("trouble {change}");
        plane.make_with("vm", "degraded", &text);
        poll_async(LONG, &text, async || {
            let errors = observe(&dir).await.info.map(|info| info.errors);
            match errors.as_ref().is_some_and(|errors| errors.contains(&text)) {
                true => Ok(()),
                false => Err(format!("{errors:?}")),
            }
        })
        .await;
        plane.heal("vm", "degraded");
        poll_async(LONG, "recovery", async || {
            match observe(&dir).await.info.map(|info| info.errors) {
                Some(errors) if errors.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    plane.make_with("vm", "degraded", "the last trouble");
    let mut count = 0;
    let shown = async {
        while let Some(Ok(vm)) = writes.next().await {
            count += 1;
            if condition(&vm, types::RUNNING)
                .message
                .contains("the last trouble")
            {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, shown).await.unwrap();
    assert!(count < CHANGES, "{count} writes for {CHANGES} changes");
    plane.heal("vm", "degraded");
    plane.end().await;
}
