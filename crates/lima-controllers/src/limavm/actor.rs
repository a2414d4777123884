//! The task that owns one VM. It looks, asks [`plan`], does one step, writes the status if it differs, and sleeps until
//! something may have changed. Nothing in its loop waits for a guest, a download or another VM.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::lima::{RESET_REQUESTED, RESTART_REQUESTED, condition, reason};
use api::{LimaVM, LimaVMStatus};
use futures::StreamExt;
use hostagent::client::Events;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, Resource, ResourceExt};
use lima::image::Cache;
use lima::layout::InstanceDir;
use lima::template::Host;
use tokio::sync::{Notify, watch};

use super::files::{Place, Resolved};
use super::job::Running;
use super::look;
use super::memory::Memory;
use super::names::{Holder, Names};
use super::phases;
use super::plan::{Action, Agent, Desired, Fate, Machine, Observed, lives, plan};
use super::status::{Known, status};
use super::stopping::wants_up;
use crate::Config;
use controller_kit::RunState;
use controller_kit::call::CallError;
use controller_kit::decoded::Decoded;
use controller_kit::recorder::{Recorder, Severity};
use controller_kit::watch::{Key, Objects};

/// All is well and events tell of changes; this is for those that never came.
const RESYNC: Duration = Duration::from_secs(60);
/// After a failed call to the API server.
pub(super) const API_RETRY: Duration = Duration::from_secs(1);
/// After a conflict: the change that caused it is on its way, and wakes the actor even earlier.
const CONFLICT_RETRY: Duration = Duration::from_millis(100);
/// Steps without a pause in between; the longest way (a new VM's) has fewer. More would be two writers that undo each
/// other's work, and must not keep a processor busy.
const MAX_IN_A_ROW: u32 = 20;
/// For what no event tells: somebody else's lock, folder or ConfigMap.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Different notes of one VM that are told; a hostagent has two or three.
const MAX_NOTES: usize = 16;
/// How long background work that was cancelled may take to notice, when the actor ends.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// What all actors share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) host: Arc<Result<Host, String>>,
    pub(crate) recorder: Recorder,
    pub(crate) vms: Objects<LimaVM>,
    pub(crate) config_maps: Objects<ConfigMap>,
    pub(crate) names: Names,
}

/// The state of one VM's actor. All of it may be lost at any time: what matters is on disk or in the status.
pub(crate) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) holder: Holder,
    pub(super) api: Api<LimaVM>,
    pub(super) place: Place,
    pub(super) wake: Arc<Notify>,
    pub(super) leave: watch::Receiver<RunState>,
    /// The API server's answer to the last write; the watch may be behind it.
    pub(super) written: Option<LimaVM>,
    pub(super) copy: Option<ConfigMap>,
    pub(super) resolved: Option<Resolved>,
    /// Why this VM may not use its name.
    pub(super) blocked: Option<String>,
    /// Why there is no copy of its template.
    pub(super) copy_failure: Option<String>,
    pub(super) job: Option<Running>,
    pub(super) memory: Memory,
    pub(super) events: Option<Events>,
}

/// What the actor does next.
enum Next {
    /// Look again, at the latest after this time.
    Look(Duration),
    /// Look again now: this look has changed something.
    Again,
    /// The object is gone, or the control plane goes.
    End,
}

impl Actor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        vm: &Decoded<LimaVM>,
        holder: Holder,
        wake: Arc<Notify>,
        leave: watch::Receiver<RunState>,
        failure: Option<String>,
    ) -> Actor {
        let name = vm.name_any();
        let vm = vm.object();
        let home = shared.config.lima_home.clone();
        // Names of Kubernetes objects are safe as file names; whether they are an instance's is checked before use.
        let dir = InstanceDir::at(home.root.join(&name), &name);
        let running = vm.and_then(|vm| vm.condition(condition::RUNNING));
        let status = vm.and_then(|vm| vm.status.clone()).unwrap_or_default();
        // What has ended since is news, unless it was being stopped.
        let lived = status.hostagent.is_some()
            && running.is_some_and(|running| running.reason != reason::STOPPING);
        Actor {
            api: Api::namespaced(shared.client.clone(), &holder.namespace),
            place: Place {
                home,
                cache: Cache::new(&shared.config.image_cache),
                dir,
                kept_logs: shared.config.kept_logs.clone(),
            },
            memory: Memory {
                lived,
                phases: status.phases,
                failure,
                ..Memory::default()
            },
            shared,
            name,
            namespace: holder.namespace.clone(),
            holder,
            wake,
            leave,
            written: None,
            copy: None,
            resolved: None,
            blocked: None,
            copy_failure: None,
            job: None,
            events: None,
        }
    }

    /// Runs until the object is gone or the control plane goes.
    pub(crate) async fn run(mut self) {
        let mut in_a_row = 0;
        loop {
            let pause = match self.look().await {
                Ok(Next::End) => break,
                Ok(Next::Again) if in_a_row < MAX_IN_A_ROW => {
                    in_a_row += 1;
                    continue;
                }
                Ok(Next::Again) => CONFLICT_RETRY,
                Ok(Next::Look(pause)) => pause,
                Err(error) if error.is_conflict() || error.is_not_found() => CONFLICT_RETRY,
                Err(error) => {
                    tracing::warn!(
                        vm = self.name,
                        "{error}; trying again in {} s",
                        API_RETRY.as_secs()
                    );
                    API_RETRY
                }
            };
            in_a_row = 0;
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.leave.changed() => {}
                outcome = Running::ended(&mut self.job) => self.job_ended(outcome),
                going_on = next_event(&mut self.events) => if !going_on { self.events = None; },
            }
        }
        if let Some(job) = self.job.take() {
            job.abandon(CANCEL_LIMIT).await;
        }
        self.shared.names.release(&self.name, &self.holder);
    }

    /// The newest version of the object that is known.
    fn newest(&self) -> Option<LimaVM> {
        let key = Key::<LimaVM>::new(&self.name).within(&self.namespace);
        let cached = self
            .shared
            .vms
            .get(&key)
            .filter(|vm| vm.uid().as_deref() == Some(&self.holder.uid))?;
        // Versions are opaque by contract and increasing numbers in fact; a wrong choice only leads to a conflict.
        let version =
            |version: Option<String>| version.and_then(|version| version.parse::<u64>().ok());
        match &self.written {
            Some(written)
                if version(written.resource_version()) > version(cached.resource_version()) =>
            {
                Some(written.clone())
            }
            _ => cached.object().cloned(),
        }
    }

    async fn look(&mut self) -> Result<Next, CallError> {
        let Some(vm) = self.newest() else {
            return Ok(Next::End);
        };
        let leave = *self.leave.borrow_and_update();
        if leave == RunState::Detaching {
            return Ok(Next::End);
        }
        let leaving = matches!(leave, RunState::Stopping { .. });
        let deleting = vm.metadata.deletion_timestamp.is_some();
        let vm = match self.keep_books(vm, deleting || leaving).await? {
            Some(vm) => vm,
            None => return Ok(Next::Again),
        };
        let desired = self.desired(&vm, deleting, leaving);
        self.notice_wish(&vm, leaving);

        let (observed, known) = self.observe(&vm, &desired, leave).await;
        if leaving && !lives(&observed) && self.job.is_none() {
            // Best effort: the VM is down, which is what matters.
            let shown = self.show(&vm, &desired, &observed, &known).await;
            let vm = shown.ok().flatten().unwrap_or(vm);
            let _ = self.take_requests(&vm, true).await;
            return Ok(Next::End);
        }
        let vm = match self.show(&vm, &desired, &observed, &known).await {
            Ok(Some(vm)) => vm,
            Ok(None) => vm,
            // Stopping must not depend on the API server.
            Err(_) if leaving => vm,
            Err(error) => return Err(error),
        };
        let stopped = !lives(&observed) && !wants_up(&desired, observed.files);
        if !leaving && self.take_requests(&vm, stopped).await? {
            return Ok(Next::Again);
        }
        let action = plan(&desired, &observed);
        tracing::debug!(vm = self.name, ?action, ?desired, ?observed, "looked");
        if self.act(action, &vm, &desired, &observed, &known).await? {
            return Ok(Next::Again);
        }
        Ok(Next::Look(self.pause(&observed)))
    }

    fn desired(&self, vm: &LimaVM, deleting: bool, leaving: bool) -> Desired {
        let status = vm.status.as_ref();
        let requested = |annotation: &str| vm.annotations().contains_key(annotation);
        Desired {
            fate: if deleting {
                Fate::Delete
            } else if status.is_some_and(|status| status.reset_needed) || requested(RESET_REQUESTED)
            {
                Fate::Reset
            } else {
                Fate::Keep
            },
            running: vm.spec.running,
            restart: status.is_some_and(|status| status.restart_needed)
                || requested(RESTART_REQUESTED),
            template: self
                .resolved
                .as_ref()
                .is_some_and(|resolved| resolved.template.is_ok()),
            leaving,
        }
    }

    /// What failed before may work now that something else is wanted.
    fn notice_wish(&mut self, vm: &LimaVM, leaving: bool) {
        let digest = self
            .resolved
            .as_ref()
            .map(|resolved| resolved.digest.clone());
        let wish = Some((
            vm.metadata.generation,
            digest,
            vm.metadata.deletion_timestamp.is_some(),
            vm.status
                .as_ref()
                .is_some_and(|status| status.restart_needed),
        ));
        if self.memory.wish != wish || self.memory.leaving != leaving {
            self.memory.wish = wish;
            self.memory.leaving = leaving;
            self.memory.starts.reset();
            self.memory.work.reset();
            // Nor is the old failure the answer to the new wish.
            self.memory.ended = None;
            self.memory.files_failure = None;
        }
    }

    /// Writes the status, if it differs; returns the object with it.
    async fn show(
        &mut self,
        vm: &LimaVM,
        desired: &Desired,
        observed: &Observed,
        known: &Known,
    ) -> Result<Option<LimaVM>, CallError> {
        let old = vm.status.clone().unwrap_or_default();
        let now = Timestamp::now();
        let new = status(&old, vm.metadata.generation, now, desired, observed, known);
        if observed.agent == Agent::Up {
            self.tell_notes(known);
        }
        if new == old {
            return Ok(None);
        }
        let written = self.write_status(vm, &new).await?;
        self.tell(vm, &old, &new);
        Ok(Some(written))
    }

    /// What a user should know although nothing is wrong: once for each VM, and not each time that it starts.
    fn tell_notes(&mut self, known: &Known) {
        let Some(info) = known
            .observation
            .as_ref()
            .and_then(|seen| seen.info.as_ref())
        else {
            return;
        };
        let slow = info
            .accelerator_warning
            .iter()
            .map(|warning| (Severity::Warning, "Emulated", warning));
        let notes = info
            .notes
            .iter()
            .map(|note| (Severity::Normal, "Note", note));
        for (severity, reason, text) in slow.chain(notes) {
            if self.memory.told.len() < MAX_NOTES && !self.memory.told.contains(text) {
                self.memory.told.push(text.clone());
                self.shared
                    .recorder
                    .record(self.about(), severity, reason, text);
            }
        }
    }

    /// Tells people of each phase that has begun, and of each condition that has another reason than before. What has
    /// happened while no controller was there is told with its own time.
    fn tell(&self, vm: &LimaVM, old: &LimaVMStatus, new: &LimaVMStatus) {
        for (at, reason, message) in phases::news(&old.phases, &new.phases) {
            let about = vm.object_ref(&());
            self.shared
                .recorder
                .record_at(at, about, Severity::Normal, reason, &message);
        }
        for condition in &new.conditions {
            let before = old
                .conditions
                .iter()
                .find(|before| before.type_ == condition.type_);
            let Some((severity, reason)) = news(before, condition) else {
                continue;
            };
            tracing::info!(vm = self.name, reason, "{}", condition.message);
            self.shared
                .recorder
                .record(vm.object_ref(&()), severity, reason, &condition.message);
        }
    }

    /// How long to sleep when nothing wakes the actor.
    fn pause(&mut self, observed: &Observed) -> Duration {
        let now = Instant::now();
        let mut pause = RESYNC;
        let unheard = std::mem::take(&mut self.memory.unheard);
        let mut at_most = |limit: Option<Duration>| pause = pause.min(limit.unwrap_or(pause));
        at_most(self.memory.starts.left(now));
        at_most(self.memory.work.left(now));
        at_most(self.memory.stop.until_overdue(now));
        at_most(
            self.memory
                .silent_since
                .map(|since| look::again_after(now.duration_since(since))),
        );
        if observed.agent == Agent::Stopping {
            // Its last event comes before it lets its lock go.
            at_most(Some(Duration::from_millis(50)));
        }
        if unheard {
            at_most(Some(API_RETRY));
        }
        if observed.agent == Agent::Unknown
            || observed.machine == Machine::Unknown
            || self.blocked.is_some()
            || self.copy_failure.is_some()
        {
            at_most(Some(LOOK_AGAIN));
        }
        // Zero would be a busy loop; a millisecond is not.
        pause.max(Duration::from_millis(1))
    }

    /// Does what the plan says; true when that has changed something already.
    async fn act(
        &mut self,
        action: Action,
        vm: &LimaVM,
        desired: &Desired,
        observed: &Observed,
        known: &Known,
    ) -> Result<bool, CallError> {
        let action = if desired.fate == Fate::Delete && self.forced(vm) {
            self.tell_what_is_left(observed, known);
            Action::Release
        } else {
            action
        };
        match action {
            Action::Rest | Action::Wait => Ok(false),
            Action::Prepare | Action::WriteTemplate | Action::Kill | Action::DeleteFiles => {
                self.start_job(action);
                Ok(self.job.is_some())
            }
            Action::CancelPrepare => {
                if let Some(job) = &self.job {
                    job.cancel();
                }
                Ok(false)
            }
            Action::EndAgent => {
                self.end_agent();
                Ok(false)
            }
            Action::Start => self.start_agent(observed.machine).await,
            Action::AskToStop => self.ask_to_stop().await,
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
}

/// What there is to tell of a condition, and as what.
fn news<'a>(before: Option<&Condition>, now: &'a Condition) -> Option<(Severity, &'a str)> {
    if now.reason == reason::PENDING {
        return None;
    }
    let Some(before) = before.filter(|before| before.reason == now.reason) else {
        let severity = if now.reason.ends_with("Failed") {
            Severity::Warning
        } else {
            Severity::Normal
        };
        return Some((severity, &now.reason));
    };
    let is_degraded = |condition: &Condition| condition.message.contains(look::DEGRADED);
    match (is_degraded(before), is_degraded(now)) {
        (false, true) => Some((Severity::Warning, "Degraded")),
        (true, false) => Some((Severity::Normal, "Recovered")),
        _ => None,
    }
}

/// Waits for the hostagent's next event; false when there will be none.
async fn next_event(events: &mut Option<Events>) -> bool {
    match events {
        Some(events) => matches!(events.next().await, Some(Ok(_))),
        None => std::future::pending().await,
    }
}
