//! Watching a kind: a store that is kept current, and a word for each change of it.

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Lookup, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};

/// What a watch has brought.
pub(super) enum Change<K: Lookup> {
    /// The list is complete (again): anything may have changed.
    All,
    /// One object.
    One(ObjectRef<K>),
}

/// The changes of a kind, after they are in the store. Never ends; a watch that breaks is taken up again.
pub(super) fn changes<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
) -> impl futures::Stream<Item = Change<K>>
where
    K: kube::Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync,
    K: serde::de::DeserializeOwned + 'static,
{
    reflector::reflector(writer, watcher(api, config).default_backoff()).filter_map(
        |event| async move {
            match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    Some(Change::One(ObjectRef::from_obj(&object)))
                }
                Ok(Event::InitDone) => Some(Change::All),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    tracing::warn!(
                        "watching {} failed, trying again: {error}",
                        <K as kube::Resource>::plural(&())
                    );
                    None
                }
            }
        },
    )
}
