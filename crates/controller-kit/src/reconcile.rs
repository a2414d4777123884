//! A work queue of objects, for controllers that handle each object in one short step.
//!
//! An object is handled when it changes, when something that it owns changes, and when its last step asked for it. Steps
//! of different objects run side by side, those of one object one after another. A step that fails or panics is reported
//! in an event and retried with back-off. The queue is kube-rs' `applier`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action, ReconcileRequest, applier};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::back_off::BackOff;
use crate::controller::Context;
use crate::decoded::Decoded;
use crate::manager::panic_text;
use crate::recorder::{Severity, reference};
use crate::watch::{Change, Key, changes, objects};

/// The longest pause before a failed step is retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Every object is looked at once in this time, in case a change of the world outside of the API was missed.
const RESYNC: Duration = Duration::from_secs(600);
/// Objects that are handled side by side.
const CONCURRENCY: u16 = 16;

/// Handles the objects of one kind.
#[async_trait::async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Object: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;
    /// Why a step failed; shown to users in an event.
    type Error: Display + Send;

    /// Compares the object with the world and performs one step towards it. Must not wait for anything slow: other steps
    /// of the object wait until it returns.
    ///
    /// It is also called for an object that is being deleted, as long as finalizers keep it.
    async fn reconcile(
        &self,
        context: &Context,
        object: &Self::Object,
    ) -> Result<Next, Self::Error>;
}

/// When an object is handled next, at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// When it, or something that it owns, changes.
    OnChange,
    /// After this time.
    After(Duration),
}

/// The owners of all objects of kind `Owned`: pass it to [`run`], so that an owner is handled when something that it
/// owns changes.
pub fn owners<Owned, Owner>(
    api: Api<Owned>,
    config: watcher::Config,
) -> BoxStream<'static, Key<Owner>>
where
    Owned: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    Owner: Resource<DynamicType = ()> + 'static,
{
    let api: Api<PartialObjectMeta<Owned>> = Api::all(api.into_client());
    watcher(api, config)
        .default_backoff()
        .touched_objects()
        .filter_map(|touched| async move { touched.ok() })
        .map(|owned| {
            let owners = owned.owner_references().iter();
            let keys: Vec<Key<Owner>> = owners
                .filter(|owner| {
                    owner.controller == Some(true)
                        && owner.kind == Owner::kind(&())
                        && owner.api_version == Owner::api_version(&())
                })
                .map(|owner| {
                    let key = ObjectRef::new(&owner.name);
                    match owned.namespace() {
                        Some(namespace) => key.within(&namespace),
                        None => key,
                    }
                })
                .collect();
            stream::iter(keys)
        })
        .flatten()
        .boxed()
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct StepError(String);

struct Shared<R> {
    reconciler: R,
    context: Context,
    /// By uid. An object has an entry only while its steps fail.
    failures: Mutex<HashMap<String, BackOff>>,
}

/// Runs `reconciler` for all objects of its kind, and returns after the shutdown once no step is under way. `triggers`
/// name further objects to handle; see [`owners`].
pub async fn run<R: Reconciler>(
    reconciler: R,
    mut context: Context,
    api: Api<Decoded<R::Object>>,
    triggers: Vec<BoxStream<'static, Key<R::Object>>>,
) where
    Key<R::Object>: Eq + Hash + Clone,
{
    let (store, writer) = objects::<R::Object>();
    let shared = Arc::new(Shared {
        reconciler,
        context: context.clone(),
        failures: Mutex::default(),
    });
    let all = store.clone();
    let ready = context.clone();
    let changed = changes(api, watcher::Config::default(), writer).flat_map(move |change| {
        stream::iter(match change {
            Change::One(key) => vec![key],
            Change::All => {
                ready.ready();
                let objects = all.state();
                objects
                    .iter()
                    .map(|object| ObjectRef::from_obj(object.as_ref()))
                    .collect()
            }
        })
    });
    let shutdown = async move { context.shutdown().await }.boxed();
    let queue = stream::select(changed.boxed(), stream::select_all(triggers))
        .map(|key| Ok::<_, Infallible>(ReconcileRequest::from(key)))
        .take_until(shutdown);
    applier(
        |object, shared| step(object, shared).boxed(),
        |object: Arc<Decoded<R::Object>>, error: &StepError, shared: Arc<Shared<R>>| {
            retry(&object, error, &shared)
        },
        shared,
        store,
        queue.boxed(),
        controller::Config::default().concurrency(CONCURRENCY),
    )
    // Results are handled in `step` and `retry`; an object that is gone needs no step.
    .for_each(|_| std::future::ready(()))
    .await;
}

async fn step<R: Reconciler>(
    object: Arc<Decoded<R::Object>>,
    shared: Arc<Shared<R>>,
) -> Result<Action, StepError> {
    if let Some(problems) = object.problem_text() {
        let message = format!("fields of this object do not fit its type: {problems}");
        tracing::warn!(object = object.name_any(), "{message}");
        let recorder = &shared.context.recorder;
        recorder.record(
            reference(object.as_ref()),
            Severity::Warning,
            "Undecodable",
            &message,
        );
    }
    // Without a part of the spec it is unknown what the user wants.
    let Some(decoded) = object.object().filter(|_| !object.has_problem_in("spec")) else {
        return Ok(Action::await_change());
    };
    let step = shared.reconciler.reconcile(&shared.context, decoded);
    let result = AssertUnwindSafe(step).catch_unwind().await;
    match result {
        Ok(Ok(next)) => {
            shared
                .failures
                .lock()
                .remove(&object.uid().unwrap_or_default());
            Ok(match next {
                Next::OnChange => Action::requeue(RESYNC),
                Next::After(pause) => Action::requeue(pause.min(RESYNC)),
            })
        }
        Ok(Err(error)) => Err(StepError(error.to_string())),
        Err(panic) => Err(StepError(format!(
            "the controller panicked: {}",
            panic_text(panic.as_ref())
        ))),
    }
}

fn retry<R: Reconciler>(
    object: &Decoded<R::Object>,
    error: &StepError,
    shared: &Shared<R>,
) -> Action {
    let uid = object.uid().unwrap_or_default();
    let pause = {
        let mut failures = shared.failures.lock();
        failures
            .entry(uid)
            .or_default()
            .failed(Instant::now(), LONGEST_PAUSE)
    };
    let message = format!("{error}; retrying in {} s", pause.as_secs());
    tracing::warn!(object = object.name_any(), "{message}");
    let recorder = &shared.context.recorder;
    recorder.record(
        reference(object),
        Severity::Warning,
        "ReconcileFailed",
        &message,
    );
    Action::requeue(pause)
}
