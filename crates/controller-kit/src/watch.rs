//! Watches a kind: keeps a local copy of all its objects, and notifies of each change.

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Lookup, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};

use crate::decoded::Decoded;

/// The local copy of all objects of a kind. Objects of which some fields do not fit their type are in it, too.
pub type Objects<K> = Store<Decoded<K>>;

/// The writing half of [`Objects`].
pub type ObjectsWriter<K> = Writer<Decoded<K>>;

/// Identifies an object of a kind.
pub type Key<K> = ObjectRef<Decoded<K>>;

/// What a watch has reported.
pub enum Change<K: kube::Resource<DynamicType = ()>> {
    /// The copy is complete, for the first time or again: any object may have changed.
    All,
    /// One object was created, changed or deleted.
    One(Key<K>),
}

/// An empty local copy, to be filled by [`changes`].
pub fn objects<K>() -> (Objects<K>, ObjectsWriter<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    reflector::store()
}

/// The changes of a kind, each after it is in the local copy. The stream never ends; a watch that breaks is reopened
/// with back-off.
pub fn changes<K>(
    api: Api<Decoded<K>>,
    config: watcher::Config,
    writer: ObjectsWriter<K>,
) -> impl futures::Stream<Item = Change<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    reflector::reflector(writer, watcher(api, config).default_backoff()).filter_map(
        |event| async move {
            match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    Some(Change::One(object.to_object_ref(())))
                }
                Ok(Event::InitDone) => Some(Change::All),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    tracing::warn!("watching {} failed; retrying: {error}", K::plural(&()));
                    None
                }
            }
        },
    )
}
