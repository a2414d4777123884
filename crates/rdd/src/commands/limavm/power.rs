//! `rdd limavm start`, `stop`, `restart`.

use std::time::{Duration, Instant};

use api::LimaVM;
use api::lima::{RESTART_REQUESTED, STOP_GRACE_PERIOD, condition, reason};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tracing::info;

use super::find::find;
use super::session::Session;
use super::wait::{self, Goal};
use crate::logging::RESULT;
use crate::service::client::refused;

/// Sets the VM to run.
pub(crate) async fn start(
    session: &Session<'_>,
    name: &str,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(&session.client, name).await?;
    let declared = json!({ "spec": { "running": true } });
    let wanted = if has_failed(&vm) {
        restart_request()
    } else {
        declared
    };
    change(&api, &vm, wanted).await?;
    if let Some(deadline) = deadline {
        wait::until(session, &vm, Goal::Started, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has started");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is starting");
    }
    Ok(())
}

/// Sets the VM to stop.
pub(crate) async fn stop(
    session: &Session<'_>,
    name: &str,
    grace: Option<Duration>,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(&session.client, name).await?;
    let mut wanted = json!({ "spec": { "running": false } });
    json_patch::merge(&mut wanted, &grace_period(grace));
    change(&api, &vm, wanted).await?;
    if let Some(deadline) = deadline {
        wait::until(session, &vm, Goal::Stopped, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has stopped");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is stopping");
    }
    Ok(())
}

/// Requests one restart; a stopped VM starts.
pub(crate) async fn restart(
    session: &Session<'_>,
    name: &str,
    grace: Option<Duration>,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(&session.client, name).await?;
    let count = vm.status.as_ref().map_or(0, |status| status.restart_count);
    let mut wanted = restart_request();
    json_patch::merge(&mut wanted, &grace_period(grace));
    change(&api, &vm, wanted).await?;
    if let Some(deadline) = deadline {
        wait::until(session, &vm, Goal::Restarted(count), deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has restarted");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is restarting");
    }
    Ok(())
}

/// Whether the VM should run and could not be started. A user who requests a start has usually removed the cause, so the
/// controller retries at once instead of waiting for the back-off.
fn has_failed(vm: &LimaVM) -> bool {
    let failed = |kind: &str, reason: &str| {
        vm.condition(kind)
            .is_some_and(|condition| condition.reason == reason)
    };
    vm.spec.running
        && (failed(condition::RUNNING, reason::START_FAILED)
            || failed(condition::CREATED, reason::CREATE_FAILED))
}

/// The patch that requests one restart.
fn restart_request() -> Value {
    let now = jiff::Timestamp::now().to_string();
    json!({ "metadata": { "annotations": { RESTART_REQUESTED: now } }, "spec": { "running": true } })
}

/// The part of a patch with the grace period for this stop. It is in the same patch as the request, so that no stop
/// begins without it.
pub(super) fn grace_period(grace: Option<Duration>) -> Value {
    match grace {
        // In milliseconds, so that no precision is lost.
        Some(grace) if grace.subsec_nanos() == 0 => annotation(&format!("{}s", grace.as_secs())),
        Some(grace) => annotation(&format!("{}ms", grace.as_millis())),
        None => json!({}),
    }
}

fn annotation(grace: &str) -> Value {
    json!({ "metadata": { "annotations": { STOP_GRACE_PERIOD: grace } } })
}

/// Patches this VM. The patch fails if another VM has the name now.
pub(super) async fn change(api: &Api<LimaVM>, vm: &LimaVM, mut patch: Value) -> anyhow::Result<()> {
    json_patch::merge(&mut patch, &json!({ "metadata": { "uid": vm.uid() } }));
    api.patch(
        &vm.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await
    .map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_period_is_written_without_loss() {
        for (millis, text) in [(0, "0s"), (5_000, "5s"), (90_000, "90s"), (1_500, "1500ms")] {
            let grace = Duration::from_millis(millis);
            let patch = grace_period(Some(grace));
            assert_eq!(patch["metadata"]["annotations"][STOP_GRACE_PERIOD], text);
            assert_eq!(api::lima::parse_grace_period(text), Some(grace));
        }
        assert_eq!(grace_period(None), json!({}));
    }
}
