//! Waits for a VM and shows its progress.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::bail;
use api::LimaVM;
use api::lima::{FORCE_DELETE, condition, reason};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::runtime::watcher::watch_object;

use super::progress::Display;
use super::session::Session;
use crate::exit::Failure;

/// The pause before the next attempt to reach a control plane. One that is replaced is back within a second.
const RECONNECT: Duration = Duration::from_millis(250);

/// The state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Its files exist.
    Created,
    /// It runs and accepts logins.
    Started,
    /// It does not run.
    Stopped,
    /// It has reached Running more often than this number.
    Restarted(i32),
    /// It is deleted.
    Deleted,
}

/// Waits until the VM has reached the goal, and returns it unless it is deleted. `before` is the VM before the change that
/// leads to the goal.
///
/// A failure that was in the conditions before is not the result of this change. If the control plane is replaced
/// meanwhile, the wait continues with the next one, which acts on the same declared state.
pub(crate) async fn until(
    session: &Session<'_>,
    before: &LimaVM,
    goal: Goal,
    deadline: Instant,
) -> anyhow::Result<Option<LimaVM>> {
    let name = before.name_any();
    let display = Display::new(&name);
    let watched = watch(session, before, goal, &display);
    let result = tokio::time::timeout_at(deadline.into(), watched).await;
    display.finish();
    match result {
        Ok(result) => result,
        Err(_) => {
            let state = display
                .last()
                .map(|last| format!(" (last seen: {last})"))
                .unwrap_or_default();
            Err(Failure::deadline(format_args!(
                "waiting for LimaVM {name:?} to be {}{state}",
                goal.name()
            ))
            .into())
        }
    }
}

/// Watches the VM, and reconnects when the control plane is replaced.
async fn watch(
    session: &Session<'_>,
    before: &LimaVM,
    goal: Goal,
    display: &Display,
) -> anyhow::Result<Option<LimaVM>> {
    let mut session = session.clone();
    let mut course = Course {
        before,
        goal,
        moved: false,
    };
    loop {
        if let Some(end) = follow(&session, &mut course, display).await? {
            return Ok(end.0);
        }
        display.lost();
        loop {
            tokio::time::sleep(RECONNECT).await;
            if session.reconnect().await? {
                break;
            }
        }
    }
}

/// Follows one watch until the wait ends; `None` when the connection was lost before.
async fn follow(
    session: &Session<'_>,
    course: &mut Course<'_>,
    display: &Display,
) -> anyhow::Result<Option<End>> {
    let name = course.before.name_any();
    let mut states = pin!(watch_object(session.api_of(course.before), &name));
    while let Some(state) = states.next().await {
        match state {
            Ok(vm) => {
                if let Some(end) = course.next(vm, display)? {
                    return Ok(Some(end));
                }
            }
            Err(error) => {
                tracing::debug!("watching LimaVM {name:?} failed: {error}");
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// The VM that has reached the goal; `None` if it is deleted.
struct End(Option<LimaVM>);

/// What the watch has shown since the change.
struct Course<'a> {
    before: &'a LimaVM,
    goal: Goal,
    /// The conditions have changed since. From then on a failure is a result of this change, even if it equals the one
    /// before.
    moved: bool,
}

impl Course<'_> {
    fn next(&mut self, vm: Option<LimaVM>, display: &Display) -> anyhow::Result<Option<End>> {
        let (name, goal) = (self.before.name_any(), self.goal);
        // Another object of the same name means that this one was deleted.
        let Some(vm) = vm.filter(|vm| vm.uid() == self.before.uid()) else {
            if goal == Goal::Deleted {
                return Ok(Some(End(None)));
            }
            bail!(
                "LimaVM {name:?} was deleted while waiting for it to be {}",
                goal.name()
            );
        };
        if goal.is_reached(&vm) {
            return Ok(Some(End(Some(vm))));
        }
        display.show(&vm, goal);
        self.moved |= conditions(&vm) != conditions(self.before);
        match goal.failure(&vm) {
            Some(failed) if self.moved => bail!(
                "LimaVM {name:?} could not be {}: {}: {}{}",
                goal.name(),
                failed.reason,
                match goal {
                    Goal::Deleted => without_retry(&failed.message),
                    _ => &failed.message,
                },
                way_out(goal, &vm)
            ),
            _ => Ok(None),
        }
    }
}

/// A condition's message without the part about the next attempt, which the caller words differently.
pub(super) fn without_retry(message: &str) -> &str {
    match message.rsplit_once("; trying again in ") {
        Some((before, pause)) if pause.ends_with(" s") => before,
        _ => message,
    }
}

/// Advice for a deletion that cannot succeed.
fn way_out(goal: Goal, vm: &LimaVM) -> String {
    if goal != Goal::Deleted {
        return String::new();
    }
    format!(
        "; it is tried again, and `rdd limavm describe {name}` shows how it goes. To give the VM up with what is left of \
         it: kubectl annotate limavm {name} -n {namespace} {FORCE_DELETE}=true",
        name = vm.name_any(),
        namespace = vm.namespace().unwrap_or_default(),
    )
}

impl Goal {
    fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Restarted(_) => "restarted",
            Self::Deleted => "deleted",
        }
    }

    fn is_reached(self, vm: &LimaVM) -> bool {
        let is = |kind: &str, status: &str| {
            vm.condition(kind)
                .is_some_and(|condition| condition.status == status)
        };
        match self {
            Self::Created => is(condition::CREATED, "True"),
            Self::Started => is(condition::RUNNING, "True"),
            Self::Stopped => match vm.condition(condition::RUNNING) {
                // A VM that never started counts as stopped, unless an action is pending.
                Some(running) => running.status == "False" && running.reason == reason::STOPPED,
                // A VM whose files could not be made never ran, and does not start once its controller has seen the change.
                None => vm.condition(condition::CREATED).is_some_and(|created| {
                    created.status != "True"
                        && created.observed_generation >= vm.metadata.generation
                }),
            },
            Self::Restarted(count) => vm
                .status
                .as_ref()
                .is_some_and(|status| status.restart_count > count),
            Self::Deleted => false,
        }
    }

    /// The condition with the reason why the goal was not reached. The controller retries, but the command reports the
    /// failure at once.
    fn failure(self, vm: &LimaVM) -> Option<&Condition> {
        let failed = |kind: &str, reasons: &[&str]| {
            vm.condition(kind)
                .filter(|condition| reasons.contains(&condition.reason.as_str()))
        };
        let not_created = || failed(condition::CREATED, &[reason::CREATE_FAILED]);
        match self {
            Self::Created => not_created(),
            // A VM whose files cannot be made is never started.
            Self::Started | Self::Restarted(_) => failed(
                condition::RUNNING,
                &[reason::START_FAILED, reason::STOP_FAILED],
            )
            .or_else(not_created),
            Self::Stopped => failed(condition::RUNNING, &[reason::STOP_FAILED]),
            Self::Deleted => failed(condition::DELETING, &[reason::DELETE_FAILED]),
        }
    }
}

fn conditions(vm: &LimaVM) -> &[Condition] {
    vm.status.as_ref().map_or(&[], |status| &status.conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(conditions: &[(&str, &str, &str)], restarts: i32) -> LimaVM {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                serde_json::json!({
                    "type": kind, "status": status, "reason": reason, "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
            "metadata": { "name": "demo" },
            "spec": { "templateRef": { "name": "t" } },
            "status": { "conditions": conditions, "restartCount": restarts }
        }))
        .unwrap()
    }

    #[test]
    fn goals_are_reached_by_their_conditions() {
        let started = vm(
            &[
                ("Created", "True", "Created"),
                ("Running", "True", "Started"),
            ],
            2,
        );
        let stopped = vm(
            &[
                ("Created", "True", "Created"),
                ("Running", "False", "Stopped"),
            ],
            1,
        );
        let starting = vm(
            &[
                ("Created", "True", "Created"),
                ("Running", "False", "Starting"),
            ],
            1,
        );
        for (goal, of_started, of_stopped, of_starting) in [
            (Goal::Created, true, true, true),
            (Goal::Started, true, false, false),
            (Goal::Stopped, false, true, false),
            (Goal::Restarted(1), true, false, false),
            (Goal::Deleted, false, false, false),
        ] {
            let reached = [&started, &stopped, &starting].map(|vm| goal.is_reached(vm));
            assert_eq!(reached, [of_started, of_stopped, of_starting], "{goal:?}");
        }
    }

    #[test]
    fn only_the_pause_is_removed_from_a_message() {
        for (message, expected) in [
            ("no disk; trying again in 12 s", "no disk"),
            ("no disk", "no disk"),
            (
                "no disk; trying again in vain",
                "no disk; trying again in vain",
            ),
        ] {
            assert_eq!(without_retry(message), expected);
        }
    }

    #[test]
    fn vm_without_files_counts_as_stopped_once_the_controller_has_seen_the_change() {
        let mut no_files = vm(&[("Created", "False", "CreateFailed")], 0);
        no_files.metadata.generation = Some(2);
        assert!(!Goal::Stopped.is_reached(&no_files), "seen: none");
        if let Some(status) = &mut no_files.status {
            status.conditions[0].observed_generation = Some(2);
        }
        assert!(Goal::Stopped.is_reached(&no_files));
    }

    #[test]
    fn failure_is_reported_from_the_condition_that_matters() {
        let failed = vm(
            &[
                ("Created", "True", "Created"),
                ("Running", "False", "StartFailed"),
            ],
            0,
        );
        assert_eq!(
            Goal::Started.failure(&failed).unwrap().reason,
            "StartFailed"
        );
        assert!(Goal::Stopped.failure(&failed).is_none());
        let no_files = vm(&[("Created", "False", "CreateFailed")], 0);
        assert_eq!(
            Goal::Started.failure(&no_files).unwrap().reason,
            "CreateFailed"
        );
        assert_eq!(Goal::Created.failure(&no_files).unwrap().message, "m");
    }
}
