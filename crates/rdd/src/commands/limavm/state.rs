//! The state of a VM in one word, for `list` and the head of `describe`.

use api::LimaVM;
use api::lima::{RESTART_REQUESTED, condition, reason};
use kube::ResourceExt as _;

/// The VM is stopping in order to start again.
const RESTARTING: &str = "Restarting";
/// The VM is being deleted.
const DELETING: &str = "Deleting";

/// Returns the state of a VM. A pending request counts more than the state before it.
pub(super) fn state(vm: &LimaVM) -> String {
    let reason_of = |kind: &str| vm.condition(kind).map(|found| found.reason.as_str());
    if vm.metadata.deletion_timestamp.is_some() {
        // A failure is more important than a pending request.
        return match reason_of(condition::DELETING) {
            Some(reason::DELETE_FAILED) => reason::DELETE_FAILED.to_owned(),
            _ => DELETING.to_owned(),
        };
    }
    let created = vm
        .condition(condition::CREATED)
        .is_some_and(|created| created.status == "True");
    if !created {
        return reason_of(condition::CREATED)
            .unwrap_or(reason::PENDING)
            .to_owned();
    }
    let restart = vm
        .status
        .as_ref()
        .is_some_and(|status| status.restart_needed)
        || vm.annotations().contains_key(RESTART_REQUESTED);
    match reason_of(condition::RUNNING) {
        Some(reason::STARTED | reason::STOPPING) if vm.spec.running && restart => {
            RESTARTING.to_owned()
        }
        // The request is declared, and the controller has not acted on it yet.
        Some(reason::STARTED) if !vm.spec.running => reason::STOPPING.to_owned(),
        Some(reason::STOPPED) if vm.spec.running && !is_noticed(vm) => reason::STARTING.to_owned(),
        Some(other) => other.to_owned(),
        None => "Unknown".to_owned(),
    }
}

/// Whether the controller has seen the current spec. The guest may have powered itself off since.
fn is_noticed(vm: &LimaVM) -> bool {
    vm.condition(condition::RUNNING)
        .is_some_and(|running| running.observed_generation >= vm.metadata.generation)
}

/// How often the VM was started again. The first start is no restart.
pub(super) fn restarts(vm: &LimaVM) -> i32 {
    vm.status
        .as_ref()
        .map_or(0, |status| status.restart_count.saturating_sub(1).max(0))
}

/// Formats seconds as kubectl formats an age, in the largest unit.
pub(super) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(running: bool, extra: &serde_json::Value, created: &str, reason: &str) -> LimaVM {
        let condition = |kind: &str, status: &str, reason: &str| {
            serde_json::json!({
                "type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z"
            })
        };
        let mut vm = serde_json::json!({
            "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
            "metadata": { "name": "demo", "generation": 1 },
            "spec": { "templateRef": { "name": "t" }, "running": running },
            "status": { "conditions": [
                condition("Created", created, if created == "True" { "Created" } else { reason }),
                condition("Running", "x", reason),
            ] }
        });
        json_patch::merge(&mut vm, extra);
        serde_json::from_value(vm).unwrap()
    }

    #[test]
    fn pending_request_is_shown_instead_of_the_state_before() {
        let none = || serde_json::json!({});
        let deleted =
            || serde_json::json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        let restart = || serde_json::json!({ "status": { "restartNeeded": true } });
        let asked =
            || serde_json::json!({ "metadata": { "annotations": { RESTART_REQUESTED: "x" } } });
        let newer = || serde_json::json!({ "metadata": { "generation": 2 } });
        for (running, extra, created, reason, state_) in [
            (true, none(), "True", "Started", "Started"),
            (false, none(), "True", "Started", "Stopping"),
            (false, none(), "True", "Stopping", "Stopping"),
            (false, none(), "True", "Stopped", "Stopped"),
            (true, newer(), "True", "Stopped", "Starting"),
            // The guest powered itself off.
            (true, none(), "True", "Stopped", "Stopped"),
            (true, restart(), "True", "Started", "Restarting"),
            (true, asked(), "True", "Started", "Restarting"),
            (true, restart(), "True", "Stopping", "Restarting"),
            (true, restart(), "True", "Starting", "Starting"),
            (false, restart(), "True", "Stopping", "Stopping"),
            (true, none(), "True", "StartFailed", "StartFailed"),
            (true, none(), "Unknown", "Pending", "Pending"),
            (true, none(), "False", "CreateFailed", "CreateFailed"),
            (true, deleted(), "True", "Started", "Deleting"),
        ] {
            let shown = state(&vm(running, &extra, created, reason));
            assert_eq!(shown, state_, "{running} {reason}");
        }
    }

    #[test]
    fn ages_have_the_largest_unit() {
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
