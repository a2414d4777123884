//! From the watches to the actors: one for each VM, woken when its object or its template changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use api::LimaVM;
use api::lima::{TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE, TEMPLATE_SUFFIX};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::actor::{Actor, Shared};
use super::changes::{Change, changes};
use super::names::{Holder, Names};
use crate::Config;
use crate::events::Recorder;
use crate::host;

/// What the actors do when the control plane goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It stays.
    Stay,
    /// Stop the VMs; guests have until then.
    StopVms { deadline: Instant },
    /// Leave the VMs alone.
    KeepVms,
}

/// Runs the controller until `leave` says otherwise and all actors have ended. `ready` is told once, when the present
/// VMs are known.
pub(crate) async fn dispatch(
    client: Client,
    config: Config,
    recorder: Recorder,
    mut leave: watch::Receiver<Leave>,
    ready: impl FnOnce(),
) {
    let (vms, vm_writer) = reflector::store();
    let (config_maps, config_map_writer) = reflector::store();
    let host = Arc::new(host::detect(&config.lima_home));
    let shared = Arc::new(Shared {
        client: client.clone(),
        config,
        host,
        recorder,
        vms,
        config_maps,
        names: Names::default(),
    });
    let templates =
        watcher::Config::default().labels(&format!("{TEMPLATE_LABEL}={TEMPLATE_LABEL_VALUE}"));
    let mut vm_events = std::pin::pin!(changes(
        Api::all(client.clone()),
        watcher::Config::default(),
        vm_writer
    ));
    let mut template_events = std::pin::pin!(changes::<ConfigMap>(
        Api::all(client),
        templates,
        config_map_writer
    ));
    tokio::task::spawn_blocking({
        let home = shared.config.lima_home.clone();
        move || match lima::instance::remove_stale(&home) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(?removed, "removed what killed preparations had left"),
            Err(error) => {
                tracing::warn!("cannot remove what killed preparations have left: {error}");
            }
        }
    });
    let mut actors = Actors {
        shared,
        leave: leave.clone(),
        by_uid: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let (mut vms_known, mut templates_known) = (false, false);
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            Some(change) = vm_events.next() => match change {
                Change::All => {
                    vms_known = true;
                    if templates_known {
                        actors.wake_all();
                    }
                }
                Change::One(_) if !(vms_known && templates_known) => {}
                Change::One(key) => actors.wake(&key),
            },
            Some(change) = template_events.next() => match change {
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
            Some(ended) = actors.tasks.join_next_with_id() => actors.ended(ended),
            changed = leave.changed() => if changed.is_err() {
                // The manager is gone without a word: what it cannot wait for must not go on.
                return;
            },
        }
        if vms_known
            && templates_known
            && let Some(ready) = ready.take()
        {
            ready();
        }
        if *leave.borrow() != Leave::Stay && actors.tasks.is_empty() {
            return;
        }
    }
}

struct Handle {
    name: String,
    holder: Holder,
    wake: Arc<Notify>,
    task: tokio::task::Id,
}

struct Actors {
    shared: Arc<Shared>,
    leave: watch::Receiver<Leave>,
    by_uid: HashMap<String, Handle>,
    tasks: JoinSet<()>,
}

impl Actors {
    /// Wakes the actor of this VM, and those of others that wait for its name. Starts the one that is missing.
    fn wake(&mut self, key: &ObjectRef<LimaVM>) {
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
        // Who has been given its name before keeps it; among the others, who came first.
        all.sort_by_key(|vm| {
            let accepted = vm
                .status
                .as_ref()
                .is_some_and(|status| status.template_config_map.is_some());
            (!accepted, vm.creation_timestamp(), vm.uid())
        });
        for vm in &all {
            self.start(vm);
        }
        for handle in self.by_uid.values() {
            handle.wake.notify_one();
        }
    }

    fn start(&mut self, vm: &LimaVM) {
        let Some(uid) = vm.uid() else { return };
        if *self.leave.borrow() != Leave::Stay || self.by_uid.contains_key(&uid) {
            return;
        }
        let holder = Holder {
            namespace: vm.namespace().unwrap_or_else(|| "default".into()),
            uid: uid.clone(),
        };
        let name = vm.name_any();
        // Within a namespace the API server gives a name again only when its last holder is gone.
        for old in self
            .by_uid
            .values()
            .filter(|old| old.name == name && old.holder.namespace == holder.namespace)
        {
            self.shared.names.release(&name, &old.holder);
        }
        // Who comes second learns why when it looks.
        let _ = self.shared.names.claim(&name, &holder);
        let wake = Arc::new(Notify::new());
        let actor = Actor::new(
            self.shared.clone(),
            vm,
            holder.clone(),
            wake.clone(),
            self.leave.clone(),
        );
        let task = self.tasks.spawn(actor.run()).id();
        self.by_uid.insert(
            uid,
            Handle {
                name,
                holder,
                wake,
                task,
            },
        );
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, ()), tokio::task::JoinError>) {
        let (id, broken) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(uid) = self
            .by_uid
            .iter()
            .find(|(_, handle)| handle.task == id)
            .map(|(uid, _)| uid.clone())
        else {
            return;
        };
        let Some(handle) = self.by_uid.remove(&uid) else {
            return;
        };
        if let Some(error) = broken {
            // The next change of the object starts it again; its VM is not touched meanwhile.
            tracing::error!(vm = handle.name, %error, "the controller of the VM broke");
        }
        // Another VM may have been waiting for the name.
        self.wake_known(&handle.name);
        let next: Vec<_> = self
            .shared
            .vms
            .state()
            .into_iter()
            .filter(|vm| vm.name_any() == handle.name)
            .collect();
        for vm in next.iter().filter(|vm| vm.uid().as_deref() != Some(&uid)) {
            self.start(vm);
        }
    }
}
