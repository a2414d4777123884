//! [`Catalog`]: the kinds that are served now.
//!
//! The built-in kinds never change. The others follow the CustomResourceDefinitions in the store:
//! `controllers/definitions.rs` watches them and calls [`Catalog::define`] and [`Catalog::advance`]. A write of a
//! definition is acknowledged only once the catalog has caught up with it ([`Catalog::wait_for`]), so a client can
//! use the kind that it has just defined.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use serde_json::Value;
use store::Revision;
use tokio::sync::watch;

use super::{
    custom,
    kind::{Kind, Kinds},
};

/// How long a request waits for the catalog to catch up. It usually takes microseconds; the limit only keeps a
/// request from hanging if the watch of the definitions has to be restarted.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The kinds that are served now.
pub(crate) struct Catalog {
    state: RwLock<State>,
    /// The revision up to which the definitions in the store are reflected here.
    reached: watch::Sender<Revision>,
    /// The revision of the last change.
    changed: AtomicU64,
}

struct State {
    served: Arc<Kinds>,
    built_in: Kinds,
    /// By the name of the definition: its kinds, and whether each is served.
    custom: BTreeMap<String, Vec<(Arc<Kind>, bool)>>,
}

impl State {
    /// Returns the kinds of a definition. A definition that has the group and the plural name of a built-in kind has
    /// none: its objects would be those of the built-in kind, and would be deleted with it.
    fn kinds_of(&self, name: &str, definition: &Value) -> Vec<(Arc<Kind>, bool)> {
        let kinds = custom::kinds(definition);
        let collides = |kind: &Kind| {
            let mut built_in = self.built_in.values();
            built_in.any(|it| it.group == kind.group && it.plural == kind.plural)
        };
        if kinds.iter().any(|(kind, _)| collides(kind)) {
            tracing::warn!(
                name,
                "a custom resource definition is not served: its name is that of a built-in kind"
            );
            return Vec::new();
        }
        let kinds = kinds.into_iter();
        kinds
            .map(|(kind, served)| (Arc::new(kind), served))
            .collect()
    }

    fn refresh(&mut self) {
        let mut served = self.built_in.clone();
        for (kind, _) in self.custom.values().flatten().filter(|(_, served)| *served) {
            served.insert(key(kind), Arc::clone(kind));
        }
        self.served = Arc::new(served);
    }
}

fn key(kind: &Kind) -> (String, String, String) {
    (
        kind.group.clone(),
        kind.version.clone(),
        kind.plural.clone(),
    )
}

impl Catalog {
    pub(crate) fn new(built_in: Vec<Kind>) -> Self {
        let built_in = built_in.into_iter();
        let built_in: Kinds = built_in.map(|kind| (key(&kind), Arc::new(kind))).collect();
        Self {
            state: RwLock::new(State {
                served: Arc::new(built_in.clone()),
                built_in,
                custom: BTreeMap::new(),
            }),
            reached: watch::Sender::new(0),
            changed: AtomicU64::new(0),
        }
    }

    /// Returns all kinds that are served.
    pub(crate) fn all(&self) -> Arc<Kinds> {
        Arc::clone(&self.state.read().served)
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.state.read().served.get(&key).cloned()
    }

    /// Returns the kind that an owner reference or an object names.
    pub(crate) fn find_by_name(&self, api_version: &str, name: &str) -> Option<Arc<Kind>> {
        let all = self.all();
        let mut found = all.values();
        found
            .find(|kind| kind.name == name && kind.api_version() == api_version)
            .cloned()
    }

    /// Returns a kind that a definition declares, whether it is served or not. Its versions share their keys in the
    /// store.
    pub(crate) fn of_definition(&self, definition: &str) -> Option<Arc<Kind>> {
        let state = self.state.read();
        let kinds = state.custom.get(definition)?;
        kinds.first().map(|(kind, _)| Arc::clone(kind))
    }

    /// Serves the kinds of a definition as it is now; `None`: the definition was deleted.
    pub(crate) fn define(&self, name: &str, definition: Option<&Value>, revision: Revision) {
        let mut state = self.state.write();
        match definition {
            Some(definition) => {
                let kinds = state.kinds_of(name, definition);
                state.custom.insert(name.to_owned(), kinds);
            }
            None => {
                state.custom.remove(name);
            }
        }
        state.refresh();
        self.changed.fetch_max(revision, Ordering::Relaxed);
    }

    /// Replaces the kinds of all definitions: at start, and when the watch had to be restarted.
    pub(crate) fn define_all(
        &self,
        definitions: impl Iterator<Item = (String, Value)>,
        revision: Revision,
    ) {
        let mut state = self.state.write();
        let all = definitions.map(|(name, definition)| {
            let kinds = state.kinds_of(&name, &definition);
            (name, kinds)
        });
        state.custom = all.collect();
        state.refresh();
        self.changed.fetch_max(revision, Ordering::Relaxed);
    }

    /// Records that every definition up to this revision is reflected.
    pub(crate) fn advance(&self, revision: Revision) {
        self.reached.send_if_modified(|reached| {
            let ahead = revision > *reached;
            *reached = revision.max(*reached);
            ahead
        });
    }

    /// Returns the revision of the last change, which identifies the OpenAPI documents.
    pub(crate) fn changed(&self) -> Revision {
        self.changed.load(Ordering::Relaxed)
    }

    pub(crate) fn reached(&self) -> Revision {
        *self.reached.borrow()
    }

    /// Waits until every definition up to this revision is reflected, or until the limit.
    pub(crate) async fn wait_for(&self, revision: Revision) {
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|reached| *reached >= revision);
        if tokio::time::timeout(CATCH_UP, wait).await.is_err() {
            tracing::warn!(
                revision,
                reached = self.reached(),
                "the custom resource definitions are not served yet after {CATCH_UP:?}; going on without them"
            );
        }
    }
}
