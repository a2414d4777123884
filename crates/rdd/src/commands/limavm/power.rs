//! `rdd limavm start`, `stop`, `restart`.

use std::time::Instant;

use api::LimaVM;
use api::lima::{RESTART_REQUESTED, condition, reason};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tracing::info;

use super::find::find;
use super::wait::{self, Goal};
use crate::logging::RESULT;
use crate::service::client::refused;

/// Declares that the VM runs.
pub(crate) async fn start(
    client: &Client,
    name: &str,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(client, name).await?;
    let declared = json!({ "spec": { "running": true } });
    let wanted = if has_failed(&vm) {
        restart_request()
    } else {
        declared
    };
    change(&api, &vm, &wanted).await?;
    if let Some(deadline) = deadline {
        wait::until(&api, &vm, Goal::Started, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has started");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is starting");
    }
    Ok(())
}

/// Declares that the VM does not run.
pub(crate) async fn stop(
    client: &Client,
    name: &str,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(client, name).await?;
    change(&api, &vm, &json!({ "spec": { "running": false } })).await?;
    if let Some(deadline) = deadline {
        wait::until(&api, &vm, Goal::Stopped, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has stopped");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is stopping");
    }
    Ok(())
}

/// Asks for one restart; a stopped VM starts.
pub(crate) async fn restart(
    client: &Client,
    name: &str,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(client, name).await?;
    let count = vm.status.as_ref().map_or(0, |status| status.restart_count);
    change(&api, &vm, &restart_request()).await?;
    if let Some(deadline) = deadline {
        wait::until(&api, &vm, Goal::Restarted(count), deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has restarted");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is restarting");
    }
    Ok(())
}

/// Whether the VM is to run and could not be started. Whoever asks for a start has usually removed the cause: it is
/// tried at once, without waiting for the end of the pause between two tries.
fn has_failed(vm: &LimaVM) -> bool {
    let failed = |kind: &str, reason: &str| {
        vm.condition(kind)
            .is_some_and(|condition| condition.reason == reason)
    };
    vm.spec.running
        && (failed(condition::RUNNING, reason::START_FAILED)
            || failed(condition::CREATED, reason::CREATE_FAILED))
}

/// The change that asks for one restart.
fn restart_request() -> Value {
    let now = jiff::Timestamp::now().to_string();
    json!({ "metadata": { "annotations": { RESTART_REQUESTED: now } }, "spec": { "running": true } })
}

async fn change(api: &Api<LimaVM>, vm: &LimaVM, patch: &Value) -> anyhow::Result<()> {
    api.patch(
        &vm.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await
    .map_err(refused)?;
    Ok(())
}
