//! Performing the steps of the plan. Each is short; what takes long is a background job.

use std::time::Instant;

use api::LimaVM;
use api::lima::FORCE_DELETE;
use controller_kit::call::CallError;
use controller_kit::recorder::Severity;
use kube::ResourceExt;

use super::super::ending::Ending;
use super::super::hostagent_process::{ask_to_stop, end_holder, start};
use super::super::object::has_finalizer;
use super::super::observe::{self, Seen};
use super::super::plan::{Action, Desired, Fate, Files, Job, Machine, Observed};
use super::super::status::Known;
use super::super::template_copy;
use super::super::work::{self, failed_reason};
use super::Actor;

impl Actor {
    /// Performs the step; whether it has changed something already.
    pub(super) async fn act(
        &mut self,
        action: Action,
        vm: &LimaVM,
        desired: &Desired,
        seen: &Seen,
    ) -> Result<bool, CallError> {
        let Seen { observed, known } = seen;
        let action = if desired.fate == Fate::Delete && self.is_forced(vm) {
            self.report_left_behind(observed, known);
            Action::Release
        } else {
            action
        };
        match action {
            Action::Rest | Action::Wait => Ok(false),
            Action::Prepare | Action::WriteTemplate | Action::Kill | Action::DeleteFiles => {
                if action == Action::Prepare {
                    self.history.creating();
                }
                let template = self.template.usable();
                Ok(self.work.start(action, &self.place, template, &self.wake))
            }
            Action::CancelPrepare => {
                self.work.cancel();
                Ok(false)
            }
            Action::EndAgent => {
                self.end_hostagent();
                Ok(false)
            }
            Action::Start => {
                self.start_hostagent(observed.machine).await;
                Ok(true)
            }
            Action::AskToStop => Ok(self.ask_to_stop().await),
            Action::RestartDone => {
                let done = Desired {
                    restart: false,
                    ..*desired
                };
                self.show(vm, &done, observed, known).await?;
                process::crash::point("restart.after-done");
                Ok(true)
            }
            Action::ResetDone => {
                let done = Desired {
                    fate: Fate::Keep,
                    ..*desired
                };
                self.show(vm, &done, observed, known).await?;
                process::crash::point("reset.after-done");
                Ok(true)
            }
            Action::Release => self.release(vm).await,
        }
    }

    pub(super) fn job_ended(&mut self, ended: work::Ended) {
        for warning in &ended.warnings {
            self.history.event(Severity::Warning, "Template", warning);
        }
        if ended.kind == Job::Prepare {
            self.history.end_phases();
        }
        match (ended.kind, ended.succeeded) {
            (Job::Kill, true) => self.run.killed(),
            (Job::DeleteFiles, true) => {
                self.run.files_deleted();
                self.record = None;
            }
            _ => {}
        }
        if let Some(failure) = ended.failure {
            let reason = failed_reason(ended.kind);
            tracing::warn!(vm = self.object.name(), reason, "{failure}");
            self.history.failed(failure);
        }
    }

    async fn start_hostagent(&mut self, machine: Machine) {
        let now = Instant::now();
        match start(&self.shared.config.hostagent, &self.place.dir).await {
            Ok(identity) => {
                process::crash::point("start.after-spawn");
                let pid = identity.pid();
                tracing::info!(
                    vm = self.object.name(),
                    pid,
                    ?machine,
                    "started a hostagent"
                );
                self.run.started(identity, now);
                if machine == Machine::Absent {
                    self.history.new_run();
                }
            }
            Err(cause) => {
                let ending = Ending {
                    powered_off: false,
                    cause,
                };
                self.run_failed(ending, machine, now);
            }
        }
    }

    /// A run ended although it was not asked to.
    pub(super) fn run_failed(&mut self, ending: Ending, machine: Machine, now: Instant) {
        let powered_off = ending.powered_off;
        let message = self.run.failed(ending, machine, now);
        tracing::warn!(
            vm = self.object.name(),
            "the VM's hostagent has ended: {message}"
        );
        if !powered_off {
            self.history.failed(message);
        }
    }

    /// Whether the hostagent was asked.
    async fn ask_to_stop(&mut self) -> bool {
        let grace = self.run.grace_left(Instant::now());
        match ask_to_stop(&self.place.dir, grace).await {
            Ok(()) => {
                process::crash::point("stop.after-ask");
                let grace_ms = grace.as_millis();
                tracing::info!(
                    vm = self.object.name(),
                    grace_ms,
                    "asked the hostagent to stop the VM"
                );
                // The next look shows it, even if the hostagent takes its time to report it.
                self.run.stop_requested(Instant::now());
                true
            }
            // The actor looks again soon, and kills the hostagent if it stays like that.
            Err(error) => {
                tracing::warn!(
                    vm = self.object.name(),
                    error,
                    "cannot ask the hostagent to stop"
                );
                self.run.stop_request_lost();
                false
            }
        }
    }

    /// Kills a hostagent that hangs. Its machine has its own session and runs on.
    fn end_hostagent(&mut self) {
        self.work.failed(Instant::now());
        match end_holder(&self.place.dir.ha_lock()) {
            Ok(Some(pid)) => {
                tracing::warn!(
                    vm = self.object.name(),
                    pid,
                    "killed a hostagent that did not answer"
                );
            }
            Ok(None) => {}
            Err(error) => {
                let message =
                    format!("the hostagent does not answer, and cannot be killed: {error}");
                tracing::warn!(vm = self.object.name(), "{message}");
                self.history.failed(message);
            }
        }
    }

    /// Removes the finalizer, after nothing of the VM is left.
    async fn release(&mut self, vm: &LimaVM) -> Result<bool, CallError> {
        if !has_finalizer(vm) {
            // Another program's finalizer keeps the object.
            return Ok(false);
        }
        template_copy::release(&self.shared.client, vm, self.object.namespace()).await?;
        process::crash::point("delete.after-copy");
        self.object.remove_finalizer(vm).await?;
        process::crash::point("delete.after-finalizer");
        tracing::info!(vm = self.object.name(), "deleted the VM");
        Ok(true)
    }

    /// Whether the user gives up a VM that cannot be cleaned up (hazard 22).
    fn is_forced(&self, vm: &LimaVM) -> bool {
        let failures = self.work.failures();
        let value = vm.annotations().get(FORCE_DELETE);
        (failures.delete.is_some() || failures.stop.is_some())
            && value.is_some_and(|value| value == "true")
    }

    /// Reports what a forced deletion leaves behind; the user has to clean it up.
    fn report_left_behind(&self, observed: &Observed, known: &Known) {
        let mut left = observe::processes(known);
        if observed.files != Files::Absent || observed.remains {
            let folder = self.place.dir.path();
            left.insert(
                0,
                format!("the folder {}, or its remains beside it", folder.display()),
            );
        }
        let failures = self.work.failures();
        let causes: Vec<String> = [&failures.delete, &failures.stop]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let message = format!(
            "given up on request ({FORCE_DELETE}); left behind: {}; the cause: {}",
            left.join("; "),
            causes.join("; ")
        );
        tracing::warn!(vm = self.object.name(), "{message}");
        self.history
            .event(Severity::Warning, "ForceDeleted", &message);
    }
}
