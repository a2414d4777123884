//! The task that owns one VM. It observes, asks [`plan`], performs one step, writes the status if it differs, and sleeps
//! until something may have changed. Nothing in its loop waits for a guest, a download or another VM.
//!
//! | part | what it owns |
//! |---|---|
//! | `object` | the LimaVM in the API, and writes to it |
//! | `own_template` | the VM's copy of its template |
//! | `work` | the background job on the files, its back-off and its failures |
//! | `run` | the current run of the VM: hostagent, stop, back-off between starts |
//! | `history` | phases, last failure, events |

mod step;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::LimaVM;
use api::lima::{ADOPT, RESET_REQUESTED, RESTART_REQUESTED, TEMPLATE_COPY, condition, reason};
use controller_kit::RunState;
use controller_kit::call::CallError;
use controller_kit::decoded::Decoded;
use controller_kit::recorder::Recorder;
use controller_kit::throttle::Throttle;
use controller_kit::watch::Objects;
use futures::StreamExt;
use hostagent::client::{Client as HostagentClient, Events};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, ResourceExt};
use lima::image::Cache;
use lima::layout::InstanceDir;
use lima::template::Host;
use tokio::sync::{Notify, watch};

use super::ending;
use super::files::Place;
use super::history::History;
use super::names::{Holder, Names};
use super::object::{Object, Version};
use super::observe::{self, Seen};
use super::own_template::OwnTemplate;
use super::owner_record::OwnerRecord;
use super::plan::{Action, Agent, Desired, Fate, Files, Job, Machine, Observed, lives, plan};
use super::run::Run;
use super::status::{Known, is_urgent, status};
use super::stopping::{grace, wants_up};
use super::work::Work;
use crate::config::Config;

/// How often the actor looks when nothing wakes it: changes are reported by events, and this is for a lost one.
const RESYNC: Duration = Duration::from_secs(60);
/// The pause after a failed call to the API server.
const API_RETRY: Duration = Duration::from_secs(1);
/// The pause after a conflict. The watch event of the change that caused it wakes the actor even earlier.
const CONFLICT_RETRY: Duration = Duration::from_millis(100);
/// Steps without a pause in between. The longest sequence (creating a VM) has fewer; more mean two writers that undo each
/// other's work, which must not keep a processor busy.
const MAX_IN_A_ROW: u32 = 20;
/// How often the actor looks for changes that no event reports: locks, folders and ConfigMaps of other programs.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long cancelled background work may take to end when the actor ends.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);
/// Status writes that are not urgent: a number in a row, which an ordinary start needs, and then one each interval, so
/// that a state that flaps does not fill the database (hazard 55).
const STATUS_BURST: u32 = 20;
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// What all actors share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) host: Arc<Result<Host, String>>,
    pub(super) recorder: Recorder,
    pub(super) vms: Objects<LimaVM>,
    pub(super) config_maps: Objects<ConfigMap>,
    pub(super) names: Names,
    /// Identifies the control plane, to distinguish its VMs' folders from those of another.
    pub(super) cluster: Option<String>,
}

/// The state of one VM's actor. It can be lost at any time: what must last is on disk or in the status.
pub(super) struct Actor {
    shared: Arc<Shared>,
    place: Place,
    wake: Arc<Notify>,
    state: watch::Receiver<RunState>,
    object: Object,
    template: OwnTemplate,
    work: Work,
    run: Run,
    history: History,
    /// The hostagent's event stream, while the actor is connected to it.
    events: Option<Events>,
    /// Why this VM may not use the folder of its name.
    blocked: Option<String>,
    request: Option<Request>,
    status_writes: Throttle,
    /// How long until the status can be written, if the last write was put off.
    status_delay: Option<Duration>,
    /// The record in the folder, as it was written last.
    record: Option<OwnerRecord>,
}

/// What the user wants. When it changes, earlier failures are forgotten and the next attempt is due at once.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    generation: Option<i64>,
    template_digest: Option<String>,
    deleting: bool,
    restart: bool,
    shutdown: bool,
}

/// What the actor does next.
enum Next {
    /// Look again, at the latest after this time.
    Look(Duration),
    /// Look again now, because this look has changed something.
    Again,
    /// The object is gone, or the control plane shuts down.
    End,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        vm: &Decoded<LimaVM>,
        holder: Holder,
        wake: Arc<Notify>,
        state: watch::Receiver<RunState>,
        failure: Option<String>,
    ) -> Actor {
        let name = vm.name_any();
        let home = shared.config.lima_home.clone();
        // Names of Kubernetes objects are safe as file names. Whether this is an instance name is checked before use.
        let dir = InstanceDir::at(home.root.join(&name), &name);
        let vm = vm.object();
        let running = vm.and_then(|vm| vm.condition(condition::RUNNING));
        let status = vm.and_then(|vm| vm.status.clone()).unwrap_or_default();
        // If the hostagent has ended while no controller ran, that is a failure unless it was being stopped.
        let expected_alive = status.hostagent.is_some()
            && running.is_some_and(|running| running.reason != reason::STOPPING);
        let object = Object::new(shared.client.clone(), shared.vms.clone(), name, holder);
        let reference = object.reference();
        let recorder = shared.recorder.clone();
        Actor {
            place: Place {
                home,
                cache: Cache::new(&shared.config.image_cache),
                dir,
                kept_logs: shared.config.kept_logs.clone(),
            },
            wake,
            state,
            object,
            template: OwnTemplate::default(),
            work: Work::default(),
            run: Run::new(expected_alive),
            history: History::new(recorder, reference, status.phases, failure),
            events: None,
            blocked: None,
            request: None,
            status_writes: Throttle::new(STATUS_BURST, STATUS_INTERVAL),
            status_delay: None,
            record: None,
            shared,
        }
    }

    /// Runs until the object is gone or the control plane shuts down.
    pub(super) async fn run(mut self) {
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
                        vm = self.object.name(),
                        "{error}; retrying in {} s",
                        API_RETRY.as_secs()
                    );
                    API_RETRY
                }
            };
            in_a_row = 0;
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.state.changed() => {}
                ended = self.work.ended() => self.job_ended(ended),
                connected = next_event(&mut self.events) => if !connected { self.events = None; },
            }
        }
        self.work.abandon(CANCEL_LIMIT).await;
        self.shared
            .names
            .release(self.object.name(), self.object.holder());
    }

    async fn look(&mut self) -> Result<Next, CallError> {
        let Some(version) = self.object.newest() else {
            return Ok(Next::End);
        };
        let state = *self.state.borrow_and_update();
        if state == RunState::Detaching {
            return Ok(Next::End);
        }
        let shutdown = matches!(state, RunState::Stopping { .. });
        self.history.decoding_problems(version.problems.as_ref());
        if version.status_is_unreadable && !version.spec_is_unknown {
            // First of all, because an API server refuses any other write while the stored status does not fit its schema.
            let status = version.vm.status.clone().unwrap_or_default();
            self.object.write_status(&version.vm, &status).await?;
            return Ok(Next::Again);
        }
        let deleting = version.vm.metadata.deletion_timestamp.is_some();
        self.blocked = self.why_blocked(&version.vm);
        if !(deleting || shutdown || self.blocked.is_some() || version.spec_is_unknown)
            && self.prepare_object(&version.vm).await?
        {
            return Ok(Next::Again);
        }
        let desired = self.desired(&version, deleting, shutdown);
        self.notice_request(&version.vm, shutdown);

        let seen = self.observe(&version.vm, &desired, state).await;
        self.record_owner(&version, &seen.observed);
        let Seen { observed, known } = &seen;
        let shown = self.show(&version.vm, &desired, observed, known).await;
        if shutdown && !lives(observed) && self.work.job().is_none() {
            // Best effort: the VM is down, which is what matters.
            let vm = shown.ok().flatten().unwrap_or(version.vm);
            let _ = self.object.remove_requests(&vm, true).await;
            return Ok(Next::End);
        }
        let action = plan(&desired, observed);
        tracing::debug!(
            vm = self.object.name(),
            ?action,
            ?desired,
            ?observed,
            "looked"
        );
        if version.spec_is_unknown && !deleting && !shutdown {
            // It is unknown what the user wants, so the VM is left as it is. The API server may refuse the status as well,
            // because it checks the whole object; the event says why.
            if let Err(error) = shown {
                tracing::debug!(vm = self.object.name(), "{error}");
            }
            return Ok(Next::Look(self.pause(observed)));
        }
        // Stopping and deleting must not depend on space for the status or on the API server (hazard 47). After a
        // conflict, however, there is a newer request.
        let is_tolerable =
            |error: &CallError| needs_no_status(action) && (shutdown || !error.is_conflict());
        let (vm, requests_are_shown) = match shown {
            Ok(shown) => (shown.unwrap_or(version.vm), true),
            Err(error) if is_tolerable(&error) => {
                tracing::warn!(vm = self.object.name(), "{error}; going on without");
                (version.vm, false)
            }
            Err(error) => return Err(error),
        };
        if !shutdown && requests_are_shown {
            let stopped = !lives(observed) && !wants_up(&desired, observed.files);
            match self.object.remove_requests(&vm, stopped).await {
                Ok(true) => return Ok(Next::Again),
                Ok(false) => {}
                Err(error) if is_tolerable(&error) => {
                    tracing::warn!(vm = self.object.name(), "{error}; going on without");
                }
                Err(error) => return Err(error),
            }
        }
        if self.act(action, &vm, &desired, &seen).await? {
            return Ok(Next::Again);
        }
        Ok(Next::Look(self.pause(&seen.observed)))
    }

    /// Adds the finalizer, reads the template, and removes annotations that have served; whether the object has changed.
    async fn prepare_object(&mut self, vm: &LimaVM) -> Result<bool, CallError> {
        if self.object.add_finalizer(vm).await? {
            return Ok(true);
        }
        let shared = &self.shared;
        self.template
            .refresh(
                &shared.client,
                &shared.config_maps,
                vm,
                self.object.namespace(),
                &shared.host,
                &self.place.dir,
            )
            .await?;
        let accepted = is_accepted(vm);
        for annotation in [TEMPLATE_COPY, ADOPT] {
            if accepted && vm.annotations().contains_key(annotation) {
                self.object.remove_annotation(vm, annotation).await?;
                process::crash::point("create.after-tidy");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Why this VM may not use the folder of its name.
    fn why_blocked(&self, vm: &LimaVM) -> Option<String> {
        let (shared, name) = (&self.shared, self.object.name());
        if let Err(other) = shared.names.claim(name, self.object.holder()) {
            return Some(format!(
                "the LimaVM name {name:?} is already used in namespace {:?}: names of LimaVMs are unique across all \
                 namespaces; delete one of the two",
                other.namespace
            ));
        }
        if is_accepted(vm) {
            return None;
        }
        if let Err(error) = lima::layout::validate_name(name) {
            return Some(error.to_string());
        }
        if let Err(error) = shared.config.lima_home.check_socket_paths(name) {
            return Some(error.to_string());
        }
        let dir = &self.place.dir;
        if !dir.path().exists() || vm.annotations().contains_key(ADOPT) {
            return None;
        }
        // The folder of another VM must not be taken for this one's; its disk may be valuable.
        let owner = OwnerRecord::read(dir).ok().flatten();
        if owner.is_some_and(|owner| owner.uid == self.object.holder().uid) {
            return None;
        }
        Some(format!(
            "the folder {} exists already and belongs to no LimaVM: take it over with `rdd limavm adopt {name}`, or delete \
             it with `rdd limavm delete {name}`, after deleting this LimaVM",
            dir.path().display()
        ))
    }

    fn desired(&self, version: &Version, deleting: bool, shutdown: bool) -> Desired {
        let vm = &version.vm;
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
            template: self.template.usable().is_some(),
            leaving: shutdown,
        }
    }

    /// What failed before may work now that the request has changed.
    fn notice_request(&mut self, vm: &LimaVM, shutdown: bool) {
        let request = Some(Request {
            generation: vm.metadata.generation,
            template_digest: self.template.digest().cloned(),
            deleting: vm.metadata.deletion_timestamp.is_some(),
            restart: vm
                .status
                .as_ref()
                .is_some_and(|status| status.restart_needed),
            shutdown,
        });
        if self.request != request {
            self.request = request;
            self.run.request_changed();
            self.work.request_changed();
        }
    }

    /// Looks at the VM, and updates run and history by what it sees.
    async fn observe(&mut self, vm: &LimaVM, desired: &Desired, state: RunState) -> Seen {
        let now = Instant::now();
        let accepted = self.blocked.is_none();
        let look = observe::look(&self.place, accepted, self.template.resolved(), || {
            self.run.is_starting(now)
        })
        .await;
        let (files, agent, machine) = (look.files, look.agent, look.machine);
        let followup = self.run.observe(agent, machine, now);
        if followup.read_phases {
            self.history.measured(&ending::stages(&self.place.dir));
        }
        if followup.read_ending {
            let ending = ending::read(&self.place.dir, machine);
            self.run_failed(ending, machine, now);
        }
        let nothing_lives = agent == Agent::Absent && machine == Machine::Absent;
        if nothing_lives {
            self.work.nothing_is_alive();
        }
        if let Some(info) = look.info() {
            self.history.measured(&info.stages);
        }
        if wants_up(desired, files) || nothing_lives {
            self.run.stop_not_wanted();
        } else {
            let grace = grace(vm, desired.fate, state, self.shared.config.stop_grace);
            self.run.stop_wanted(now, grace);
        }
        if nothing_lives && self.work.job() != Some(Job::Prepare) && self.history.has_open_phase() {
            // The hostagent was killed before it could report the end of its phase.
            self.history.measured(&ending::stages(&self.place.dir));
            self.history.end_phases();
        }
        self.connect(agent).await;
        let problem = self.object.newest().and_then(|version| {
            let problems = version.problems.filter(|_| version.spec_is_unknown)?;
            Some(format!(
                "the spec of this object cannot be read ({problems}), so the VM is left as it is; repair the object with \
                 `rdd ctl edit`"
            ))
        });
        let parts = observe::Parts {
            place: &self.place,
            template: &self.template,
            work: &self.work,
            run: &self.run,
            history: &self.history,
            blocked: self.blocked.as_ref().or(problem.as_ref()),
            accepted,
        };
        observe::seen(look, &parts, desired, now)
    }

    /// Subscribes to the hostagent's events, so that each change of its state wakes the actor.
    async fn connect(&mut self, agent: Agent) {
        match agent {
            Agent::Booting | Agent::Up | Agent::Stopping if self.events.is_none() => {
                let dir = &self.place.dir;
                let events = async { HostagentClient::connect(dir).await?.events().await };
                self.events = events.await.ok();
            }
            Agent::Absent => self.events = None,
            _ => {}
        }
    }

    /// Keeps the record in the folder up to date, from which the object can be recreated.
    fn record_owner(&mut self, version: &Version, observed: &Observed) {
        let has_files = matches!(observed.files, Files::Current | Files::Outdated);
        if !has_files || version.spec_is_unknown || observed.job.is_some() {
            return;
        }
        let Some(text) = self.template.text() else {
            return;
        };
        let record = OwnerRecord {
            cluster: self.shared.cluster.clone(),
            namespace: self.object.namespace().to_owned(),
            uid: self.object.holder().uid.clone(),
            template: text.to_owned(),
            spec: version.vm.spec.clone(),
        };
        if self.record.as_ref() == Some(&record) {
            return;
        }
        if let Err(error) = record.write_if_changed(&self.place.dir) {
            tracing::warn!(
                vm = self.object.name(),
                "the VM could not be adopted if the database were lost: {error}"
            );
        }
        // A failed write is retried with the next change, so that a full disk is not written to at each look.
        self.record = Some(record);
    }

    /// Writes the status, if it differs; returns the object with it.
    async fn show(
        &mut self,
        vm: &LimaVM,
        desired: &Desired,
        observed: &Observed,
        known: &Known,
    ) -> Result<Option<LimaVM>, CallError> {
        self.status_delay = None;
        let old = vm.status.clone().unwrap_or_default();
        let now = Timestamp::now();
        let new = status(&old, vm.metadata.generation, now, desired, observed, known);
        if observed.agent == Agent::Up
            && let Some(info) = known.info()
        {
            self.history.notes(info);
        }
        if new == old {
            return Ok(None);
        }
        if let Err(delay) = self.status_writes.take(Instant::now())
            && !is_urgent(&old, &new)
        {
            self.status_delay = Some(delay);
            return Ok(None);
        }
        let written = self.object.write_status(vm, &new).await?;
        self.history.status_changed(&old, &new);
        Ok(Some(written))
    }

    /// How long to sleep if nothing wakes the actor.
    fn pause(&mut self, observed: &Observed) -> Duration {
        let now = Instant::now();
        let mut pause = RESYNC;
        let mut at_most = |limit: Option<Duration>| pause = pause.min(limit.unwrap_or(pause));
        self.run.deadlines(now).into_iter().for_each(&mut at_most);
        at_most(self.work.left(now));
        at_most(self.status_delay);
        if observed.agent == Agent::Stopping {
            // It sends its last event before it releases its lock.
            at_most(Some(Duration::from_millis(50)));
        }
        if self.run.take_request_lost() {
            at_most(Some(API_RETRY));
        }
        if observed.agent == Agent::Unknown
            || observed.machine == Machine::Unknown
            || self.blocked.is_some()
            || self.template.copy_failure().is_some()
        {
            at_most(Some(LOOK_AGAIN));
        }
        // Zero would be a busy loop.
        pause.max(Duration::from_millis(1))
    }
}

/// Whether the VM was given its name and the folder.
fn is_accepted(vm: &LimaVM) -> bool {
    let status = vm.status.as_ref();
    status.is_some_and(|status| status.template_config_map.is_some())
}

/// Whether the step ends processes, frees space or releases the object, and so must not depend on a status write.
fn needs_no_status(action: Action) -> bool {
    matches!(
        action,
        Action::AskToStop
            | Action::Kill
            | Action::EndAgent
            | Action::DeleteFiles
            | Action::CancelPrepare
            | Action::Release
    )
}

/// Waits for the hostagent's next event; false when there will be none.
async fn next_event(events: &mut Option<Events>) -> bool {
    match events {
        Some(events) => matches!(events.next().await, Some(Ok(_))),
        None => std::future::pending().await,
    }
}
