//! Doing: the steps of the plan, each short, and what is learnt from how they end.

use std::path::Path;
use std::time::Instant;

use api::LimaVM;
use api::lima::{FORCE_DELETE, phase};
use api::rdd::CLEANUP_FINALIZER;
use driver::MachineState;
use hostagent::client::{AgentState, Client as HostagentClient, SpawnOptions, spawn};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use lima::progress::Cancel;
use process::lock::Holder;
use process::{Identity, Process, Signal};

use super::actor::Actor;
use super::ending::Ending;
use super::files::{self, failed_reason};
use super::job::{Outcome, Running};
use super::limits::LONGEST_FILES;
use super::phases;
use super::plan::{Action, Files, Job, Machine, Observed};
use super::progress::ProgressLine;
use super::status::{Ended, Known};
use super::template_copy;
use controller_kit::call::CallError;
use controller_kit::recorder::Severity;

/// Ends the process that holds `lock`; its number, unless nobody holds it or it has not said who it is.
fn end_holder(lock: &Path) -> Result<Option<u32>, String> {
    // Who it is stands in its lock, and is checked against its start time before it is signalled (hazard 6).
    let holder = match process::lock::holder(lock) {
        Ok(Holder::Held(Some(info))) => info.identity,
        _ => return Ok(None),
    };
    // The text of a lock can be wrong while the lock is held, by a holder that was frozen before it wrote its own or by
    // somebody's hand, and then it may name us, who take this lock as a proof now and then.
    if Identity::of_current().is_ok_and(|ours| ours == holder) {
        let path = lock.display();
        return Err(format!(
            "{path} is held and names this process ({}); stop whoever has that file open",
            holder.pid()
        ));
    }
    end_process(&holder)
}

/// Ends this process; its number, unless it is gone.
fn end_process(identity: &Identity) -> Result<Option<u32>, String> {
    match Process::open(identity) {
        Ok(Some(process)) if process.is_running() => match process.signal(Signal::Kill) {
            Ok(()) => Ok(Some(identity.pid())),
            Err(error) => Err(error.to_string()),
        },
        Ok(_) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

impl Actor {
    pub(super) fn start_job(&mut self, action: Action) {
        let place = self.place.clone();
        let cancel = Cancel::new();
        let template = self.resolved.as_ref().and_then(|resolved| {
            resolved
                .template
                .as_ref()
                .ok()
                .map(|template| (template.clone(), resolved.digest.clone()))
        });
        let job = match (action, template) {
            (Action::Prepare, Some((template, digest))) => {
                self.memory.phases = vec![phases::begun(phase::CREATING, Timestamp::now())];
                let progress = ProgressLine::new(self.wake.clone());
                let work =
                    files::prepare(place, template, digest, progress.clone(), cancel.clone());
                Running::start(Job::Prepare, cancel, Some(progress), work)
            }
            (Action::WriteTemplate, Some((template, digest))) => Running::start(
                Job::WriteTemplate,
                cancel,
                None,
                files::write_template(place, template, digest),
            ),
            (Action::Kill, _) => Running::start(Job::Kill, cancel, None, async move {
                files::end(place).await.map(drop)
            }),
            (Action::DeleteFiles, _) => {
                Running::start(Job::DeleteFiles, cancel, None, files::delete(place))
            }
            _ => return,
        };
        self.job = Some(job);
    }

    /// Learns from the end of a job.
    pub(super) fn job_ended(&mut self, outcome: Outcome) {
        let vm = self.about();
        for warning in &outcome.warnings {
            self.shared
                .recorder
                .record(vm.clone(), Severity::Warning, "Template", warning);
        }
        let memory = &mut self.memory;
        if outcome.kind == Job::Prepare {
            phases::end(&mut memory.phases, Timestamp::now());
        }
        match outcome.result {
            Ok(()) => {
                memory.work.reset();
                memory.files_failure = None;
                if outcome.kind == Job::Kill {
                    // It was ended on purpose: no run has failed.
                    memory.stop.take_told();
                    (memory.lived, memory.started, memory.stop_failure) = (false, None, None);
                }
                if outcome.kind == Job::DeleteFiles {
                    memory.delete_failure = None;
                    (memory.ended, memory.lived) = (None, false);
                    memory.starts.reset();
                }
            }
            Err(_) if outcome.cancelled => {}
            Err(error) => {
                let pause = memory.work.failed(Instant::now(), LONGEST_FILES);
                let message = format!("{error}; trying again in {} s", pause.as_secs());
                let reason = failed_reason(outcome.kind);
                tracing::warn!(vm = self.name, reason, "{message}");
                let slot = match outcome.kind {
                    Job::Prepare | Job::WriteTemplate => &mut memory.files_failure,
                    Job::Kill => &mut memory.stop_failure,
                    Job::DeleteFiles => &mut memory.delete_failure,
                };
                memory.failure = Some(message.clone());
                *slot = Some(message);
            }
        }
    }

    pub(super) fn about(&self) -> k8s_openapi::api::core::v1::ObjectReference {
        k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some(LimaVM::api_version(&()).into_owned()),
            kind: Some(LimaVM::kind(&()).into_owned()),
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: Some(self.holder.uid.clone()),
            ..Default::default()
        }
    }

    /// Starts a hostagent. It boots the machine, or takes over the one that runs.
    pub(super) async fn start_agent(&mut self, machine: Machine) -> Result<bool, CallError> {
        let command = &self.shared.config.hostagent;
        let mut args = command.args.clone();
        args.push("--dir".into());
        args.push(self.place.dir.path().into());
        let options = SpawnOptions {
            args,
            env: command.env.clone(),
            kept_logs: command.kept_logs,
            log_title: command.log_title.clone(),
        };
        match spawn(&command.program, &self.place.dir, &options).await {
            Ok(identity) => {
                process::crash::point("start.after-spawn");
                tracing::info!(
                    vm = self.name,
                    pid = identity.pid(),
                    ?machine,
                    "started a hostagent"
                );
                self.memory.started = Some((identity, Instant::now()));
                self.memory.stop.take_told();
                self.memory.ended = None;
                if machine == Machine::Absent {
                    self.memory.phases.clear();
                }
            }
            Err(error) => {
                let ending = Ending {
                    powered_off: false,
                    cause: error.to_string(),
                };
                self.run_failed(ending, machine, Instant::now());
            }
        }
        Ok(true)
    }

    /// A run has ended that nobody had asked to end.
    pub(super) fn run_failed(&mut self, ending: Ending, machine: Machine, now: Instant) {
        let Ending { powered_off, cause } = ending;
        let again = match self.memory.start_failed(machine, now) {
            Some(pause) => format!("starting again in {} s", pause.as_secs().max(1)),
            None => "starting again".into(),
        };
        tracing::warn!(
            vm = self.name,
            cause,
            "the VM's hostagent has ended; {again}"
        );
        let message = format!("{cause}; {again}");
        if !powered_off {
            self.memory.failure = Some(message.clone());
        }
        self.memory.ended = Some(Ended {
            powered_off,
            message,
        });
    }

    pub(super) async fn ask_to_stop(&mut self) -> Result<bool, CallError> {
        let grace = self.memory.stop.left(Instant::now());
        let stop = async {
            HostagentClient::connect(&self.place.dir)
                .await?
                .stop(grace)
                .await
        };
        match stop.await {
            Ok(()) => {
                process::crash::point("stop.after-ask");
                tracing::info!(
                    vm = self.name,
                    grace_ms = grace.as_millis(),
                    "asked the hostagent to stop the VM"
                );
                self.memory.stop.told(Instant::now());
                self.memory.lived = false;
                // Shown at once, also when the hostagent takes its time to say so.
                Ok(true)
            }
            // It is looked at again soon, and killed when it stays like that.
            Err(error) => {
                tracing::warn!(vm = self.name, %error, "cannot ask the hostagent to stop");
                self.memory.unheard = true;
                Ok(false)
            }
        }
    }

    /// Ends a hostagent that hangs. Its machine lives in a session of its own and goes on.
    pub(super) fn end_agent(&mut self) {
        self.memory.work.failed(Instant::now(), LONGEST_FILES);
        match end_holder(&self.place.dir.ha_lock()) {
            Ok(Some(pid)) => tracing::warn!(
                vm = self.name,
                pid,
                "the hostagent does not answer; ending it"
            ),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(vm = self.name, "cannot end the hostagent: {error}");
                self.memory.failure = Some(format!(
                    "the hostagent does not answer, and cannot be ended: {error}"
                ));
            }
        }
    }

    /// Ends the hostagent that was started last and holds no lock after its time: nobody else would ever find it, and
    /// the next one is started. It has no machine, which takes the lock.
    pub(super) fn end_started(&mut self) {
        let Some((identity, _)) = self.memory.started.take() else {
            return;
        };
        match end_process(&identity) {
            Ok(Some(pid)) => tracing::warn!(
                vm = self.name,
                pid,
                "the hostagent that was started did not take its lock; ending it"
            ),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                vm = self.name,
                "cannot end the hostagent that was started and did not take its lock: {error}"
            ),
        }
    }

    /// Lets the object go: nothing of the VM is left.
    pub(super) async fn release(&mut self, vm: &LimaVM) -> Result<bool, CallError> {
        if !vm
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == CLEANUP_FINALIZER)
        {
            // Somebody else's finalizer holds it.
            return Ok(false);
        }
        template_copy::release(&self.shared.client, vm, &self.namespace).await?;
        process::crash::point("delete.after-copy");
        self.remove_finalizer(vm).await?;
        process::crash::point("delete.after-finalizer");
        tracing::info!(vm = self.name, "deleted the VM");
        Ok(true)
    }

    /// What stays behind when its user gives a VM up; he has to look after it from now on.
    pub(super) fn tell_what_is_left(&self, observed: &Observed, known: &Known) {
        let mut left = Vec::new();
        if observed.files != Files::Absent || observed.remains {
            let folder = self.place.dir.path();
            left.push(format!(
                "the folder {}, or what is left of it beside",
                folder.display()
            ));
        }
        let seen = known.observation.as_ref();
        if let Some(AgentState::Alive {
            identity: Some(identity),
            ..
        }) = seen.map(|seen| &seen.agent)
        {
            left.push(format!("its hostagent, process {}", identity.pid()));
        }
        if let Some(MachineState::Alive { identity }) = seen.map(|seen| &seen.machine) {
            left.push(format!("its machine, process {}", identity.pid()));
        }
        let why = [&self.memory.delete_failure, &self.memory.stop_failure]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>();
        let message = format!(
            "given up on request ({FORCE_DELETE}); left behind: {}; the cause: {}",
            left.join("; "),
            why.join("; ")
        );
        tracing::warn!(vm = self.name, "{message}");
        self.shared
            .recorder
            .record(self.about(), Severity::Warning, "ForceDeleted", &message);
    }

    /// The user gives up what cannot be cleaned up (hazard 22).
    pub(super) fn forced(&self, vm: &LimaVM) -> bool {
        let failed = self.memory.delete_failure.is_some() || self.memory.stop_failure.is_some();
        failed
            && vm
                .annotations()
                .get(FORCE_DELETE)
                .is_some_and(|value| value == "true")
    }
}

#[cfg(test)]
mod tests {
    use process::FileLock;

    use super::*;

    #[test]
    fn h06_a_lock_that_names_us_gets_no_signal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.lock");
        assert_eq!(end_holder(&path), Ok(None), "nobody holds it");
        // Ours, by its text and, to be sure that it is looked at, really.
        let lock = FileLock::try_acquire(&path, "test").unwrap().unwrap();
        let error = end_holder(&path).unwrap_err();
        assert!(error.contains("names this process"), "{error}");
        drop(lock);
        assert_eq!(end_holder(&path), Ok(None));
    }
}
