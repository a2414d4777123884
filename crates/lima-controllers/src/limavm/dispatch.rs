//! From the watches to the actors: one actor for each VM, woken when its object or its template changes.

use std::collections::HashMap;
use std::sync::Arc;

use api::LimaVM;
use api::lima::{TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE, TEMPLATE_SUFFIX};
use controller_kit::decoded::Decoded;
use controller_kit::recorder::{Severity, reference};
use controller_kit::tasks::{Outcome, Tasks};
use controller_kit::watch::{Change, Key, changes, objects};
use controller_kit::{Context, RunState};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::{Notify, watch};

use super::actor::{Actor, Shared};
use super::adopt;
use super::names::{Holder, Names};
use crate::config::Config;
use crate::host;

/// Runs until the shutdown, and then until all actors have ended.
pub(crate) async fn dispatch(config: Config, context: Context) {
    let (vms, vm_writer) = objects();
    let (config_maps, config_map_writer) = objects();
    let host = Arc::new(host::detect(&config.lima_home));
    let mut state = context.state.clone();
    let cluster = adopt::cluster(&context.client)
        .await
        .unwrap_or_else(|error| {
            tracing::warn!("a lost database could not be recognised: {error}");
            None
        });
    adopt::adopt_lost(
        &context.client,
        &context.recorder,
        &config.lima_home,
        cluster.as_ref(),
    )
    .await;
    let shared = Arc::new(Shared {
        client: context.client.clone(),
        config,
        host,
        recorder: context.recorder.clone(),
        vms,
        config_maps,
        names: Names::default(),
        cluster,
    });
    let templates =
        watcher::Config::default().labels(&format!("{TEMPLATE_LABEL}={TEMPLATE_LABEL_VALUE}"));
    let mut vm_changes = std::pin::pin!(changes::<LimaVM>(
        Api::all(context.client.clone()),
        watcher::Config::default(),
        vm_writer
    ));
    let mut template_changes = std::pin::pin!(changes::<ConfigMap>(
        Api::all(context.client.clone()),
        templates,
        config_map_writer
    ));
    tokio::task::spawn_blocking({
        let home = shared.config.lima_home.clone();
        move || match lima::instance::remove_stale(&home) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(?removed, "removed the remains of killed preparations"),
            Err(error) => {
                tracing::warn!("cannot remove the remains of killed preparations: {error}");
            }
        }
    });
    let mut actors = Actors {
        shared,
        state: state.clone(),
        by_uid: HashMap::new(),
        tasks: Tasks::default(),
    };
    let (mut vms_known, mut templates_known) = (false, false);
    let mut ready = false;
    loop {
        tokio::select! {
            Some(change) = vm_changes.next() => match change {
                Change::All => {
                    vms_known = true;
                    if templates_known {
                        actors.wake_all();
                    }
                }
                Change::One(_) if !(vms_known && templates_known) => {}
                Change::One(key) => actors.wake(&key),
            },
            Some(change) = template_changes.next() => match change {
                Change::All => {
                    templates_known = true;
                    if vms_known {
                        actors.wake_all();
                    }
                }
                Change::One(key) => {
                    if let Some(vm) = key.name.strip_suffix(TEMPLATE_SUFFIX) {
                        actors.wake_known(vm);
                    }
                }
            },
            (uid, outcome) = actors.tasks.next() => actors.ended(&uid, outcome),
            // An error means that the manager was dropped: its controllers must not go on.
            changed = state.changed() => if changed.is_err() {
                return;
            },
        }
        if !ready && vms_known && templates_known {
            ready = true;
            context.ready();
        }
        if *state.borrow() != RunState::Running && actors.tasks.is_empty() {
            return;
        }
    }
}

struct Handle {
    name: String,
    holder: Holder,
    wake: Arc<Notify>,
    /// Why the actor panicked, until it runs again.
    failure: Option<String>,
}

/// The actors, by the uid of their object.
struct Actors {
    shared: Arc<Shared>,
    state: watch::Receiver<RunState>,
    by_uid: HashMap<String, Handle>,
    tasks: Tasks,
}

impl Actors {
    /// Wakes the actor of this VM, and those of others that wait for its name. Starts the actor if there is none.
    fn wake(&mut self, key: &Key<LimaVM>) {
        if let Some(vm) = self.shared.vms.get(key) {
            self.start(&vm);
        }
        self.wake_known(&key.name);
    }

    fn wake_known(&self, name: &str) {
        for handle in self.by_uid.values().filter(|handle| handle.name == name) {
            handle.wake.notify_one();
        }
    }

    fn wake_all(&mut self) {
        let mut all = self.shared.vms.state();
        // A VM that was accepted before keeps its name; among the others, the oldest gets it.
        all.sort_by_key(|vm| {
            let status = vm.object().and_then(|vm| vm.status.as_ref());
            let accepted = status.is_some_and(|status| status.template_config_map.is_some());
            (!accepted, vm.creation_timestamp(), vm.uid())
        });
        for vm in &all {
            self.start(vm);
        }
        for handle in self.by_uid.values() {
            handle.wake.notify_one();
        }
    }

    fn start(&mut self, vm: &Decoded<LimaVM>) {
        let Some(uid) = vm.uid() else { return };
        if *self.state.borrow() != RunState::Running || self.by_uid.contains_key(&uid) {
            return;
        }
        self.spawn(vm, uid, None);
    }

    /// Starts the actor of a VM. `failure`: why the last one ended.
    fn spawn(&mut self, vm: &Decoded<LimaVM>, uid: String, failure: Option<String>) {
        let holder = Holder {
            namespace: vm.namespace().unwrap_or_else(|| "default".into()),
            uid: uid.clone(),
        };
        let name = vm.name_any();
        // Within a namespace the API server gives a name to a new object only once the old one is gone.
        for old in self
            .by_uid
            .values()
            .filter(|old| old.name == name && old.holder.namespace == holder.namespace)
        {
            self.shared.names.release(&name, &old.holder);
        }
        // If another VM has the name, this actor finds out at its first look.
        let _ = self.shared.names.claim(&name, &holder);
        let wake = Arc::new(Notify::new());
        let actor = Actor::new(
            self.shared.clone(),
            vm,
            holder.clone(),
            wake.clone(),
            self.state.clone(),
            failure,
        );
        self.tasks.spawn(&uid, actor.run());
        self.by_uid.insert(
            uid,
            Handle {
                name,
                holder,
                wake,
                failure: None,
            },
        );
    }

    fn ended(&mut self, uid: &str, outcome: Outcome) {
        match outcome {
            Outcome::Finished => self.finished(uid),
            Outcome::Panicked { message, pause } => {
                let message = format!(
                    "the controller of this VM panicked, which is a defect of rdd: {message}; restarting it in {} s; the \
                     VM itself is not touched meanwhile",
                    pause.as_secs()
                );
                tracing::error!(uid, "{message}");
                if let Some(vm) = self.object(uid) {
                    let recorder = &self.shared.recorder;
                    recorder.record(
                        reference(&*vm),
                        Severity::Warning,
                        "ControllerPanicked",
                        &message,
                    );
                }
                // The handle stays until the actor is due again, so that no change of the object starts it earlier.
                if let Some(handle) = self.by_uid.get_mut(uid) {
                    handle.failure = Some(message);
                }
            }
            Outcome::Due => {
                let Some(vm) = self.object(uid) else {
                    // The object went meanwhile, so its name is free.
                    if let Some(handle) = self.by_uid.get(uid) {
                        self.shared.names.release(&handle.name, &handle.holder);
                    }
                    return self.finished(uid);
                };
                let failure = self.by_uid.remove(uid).and_then(|handle| handle.failure);
                self.spawn(&vm, uid.to_owned(), failure);
            }
        }
    }

    fn object(&self, uid: &str) -> Option<Arc<Decoded<LimaVM>>> {
        let vms = &self.shared.vms;
        vms.find(|vm| vm.uid().as_deref() == Some(uid))
    }

    fn finished(&mut self, uid: &str) {
        let Some(handle) = self.by_uid.remove(uid) else {
            return;
        };
        // Another VM may be waiting for the name.
        self.wake_known(&handle.name);
        let next: Vec<_> = self
            .shared
            .vms
            .state()
            .into_iter()
            .filter(|vm| vm.name_any() == handle.name && vm.uid().as_deref() != Some(uid))
            .collect();
        for vm in next {
            self.start(&vm);
        }
    }
}
