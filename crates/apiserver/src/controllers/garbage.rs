//! The garbage collector: deletes objects whose owners are gone, carries out foreground and orphan deletion.
//!
//! It watches the store, so it sees committed changes in order. Every deletion and patch has the UID and the revision
//! on which it was decided as preconditions, so an object that has changed meanwhile is examined again instead.

use std::{collections::BTreeSet, sync::Arc};

use futures::StreamExt as _;
use serde_json::json;
use store::{Entry, Event};

use super::{
    RETRY, invalid_owner,
    owners::{Meta, Owner, Owners, meta},
};
use crate::{
    object,
    patch::Patch,
    registry::{
        backend::Backend,
        context::WriteContext,
        delete::{self, DeleteOptions, FOREGROUND, ORPHAN, Propagation},
        target::Target,
        update::{self, Change},
    },
    status::ApiError,
};

const EVERYTHING: &str = "/registry/";

struct Collector<'a> {
    backend: &'a Arc<Backend>,
    owners: Owners,
    /// The keys of the objects to examine.
    work: BTreeSet<String>,
    /// The objects, by key and UID, whose invalid owner reference has been reported.
    reported: BTreeSet<(String, String)>,
}

/// Returns whether the encoded object can concern the collector: it has owners, or it is being deleted.
fn concerns(bytes: &[u8]) -> bool {
    object::contains(bytes, b"\"ownerReferences\"")
        || object::contains(bytes, b"\"deletionTimestamp\"")
}

pub(super) async fn run(backend: &Arc<Backend>) {
    loop {
        if let Err(error) = follow(backend).await {
            tracing::warn!(%error, "garbage collection failed; starting again from a new list");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(backend: &Arc<Backend>) -> Result<(), ApiError> {
    let mut collector = Collector {
        backend,
        owners: Owners::default(),
        work: BTreeSet::new(),
        reported: BTreeSet::new(),
    };
    let page = backend.store.list(EVERYTHING, None, 0, None)?;
    let revision = page.revision;
    for entry in &page.entries {
        collector.seen(entry);
    }
    drop(page);
    collector.work.extend(collector.owners.all());
    let mut events = backend.store.watch(EVERYTHING, revision)?;
    loop {
        if !collector.work.is_empty() && !collector.attempt_all().await {
            // Keys whose examination failed stay in the work and are tried again after a pause or the next event.
            if let Ok(event) = tokio::time::timeout(RETRY, events.next()).await {
                match event {
                    Some(event) => collector.event(event?),
                    None => return Ok(()),
                }
            }
            continue;
        }
        match events.next().await {
            Some(event) => collector.event(event?),
            None => return Ok(()),
        }
    }
}

impl Collector<'_> {
    fn seen(&mut self, entry: &Entry) {
        if !concerns(&entry.value) {
            self.owners.remove(&entry.key);
            return;
        }
        let meta = meta(&entry.value);
        self.owners.put(&entry.key, &meta.owner_references);
        if !meta.owner_references.is_empty() || meta.deletion_timestamp.is_some() {
            self.work.insert(entry.key.clone());
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Put { entry, previous } => {
                // The change may release an owner that waits for this dependent.
                for entry in previous.iter().chain([&entry]) {
                    self.examine_owners(entry);
                }
                self.seen(&entry);
            }
            Event::Delete { entry, .. } => {
                self.examine_owners(&entry);
                self.owners.remove(&entry.key);
                self.work.remove(&entry.key);
                let gone = meta(&entry.value);
                self.reported.remove(&(entry.key, gone.uid.clone()));
                self.work.extend(self.owners.dependents(&gone.uid));
            }
            Event::Progress(_) => {}
        }
    }

    /// Adds the owners of an object to the work.
    fn examine_owners(&mut self, dependent: &Entry) {
        if !object::contains(&dependent.value, b"\"ownerReferences\"") {
            return;
        }
        let dependent = meta(&dependent.value);
        for owner in &dependent.owner_references {
            let key = self.key_of(owner, dependent.namespace.as_deref());
            self.work.extend(key);
        }
    }

    /// Examines each key once; returns whether no examination failed.
    async fn attempt_all(&mut self) -> bool {
        let mut failed = BTreeSet::new();
        while let Some(key) = self.work.pop_first() {
            if let Err(error) = self.attempt(&key).await
                && error.code != 404
            {
                tracing::debug!(key, %error, "garbage collection of an object failed; trying again");
                failed.insert(key);
            }
        }
        self.work = failed;
        self.work.is_empty()
    }

    fn key_of(&self, owner: &Owner, namespace: Option<&str>) -> Option<String> {
        let kind = self
            .backend
            .kinds
            .find_by_name(&owner.api_version, &owner.kind)?;
        let namespace = namespace.filter(|_| kind.namespaced);
        Some(kind.key(namespace, &owner.name))
    }

    /// Returns whether the owner exists. An owner of a kind that is not served counts as existing, because it may.
    fn lives(&self, owner: &Owner, namespace: Option<&str>) -> bool {
        match self.key_of(owner, namespace) {
            None => true,
            Some(key) => match self.backend.store.get(&key) {
                Some(entry) => meta(&entry.value).uid == owner.uid,
                // An owner whose row is damaged may still be restored.
                None => {
                    let quarantined = self.backend.store.quarantined();
                    quarantined.iter().any(|row| row.may_be(&key))
                }
            },
        }
    }

    /// Returns whether the owner waits for its dependents to be deleted (foreground deletion).
    fn waits(&self, owner: &Owner, namespace: Option<&str>) -> bool {
        let entry = self
            .key_of(owner, namespace)
            .and_then(|key| self.backend.store.get(&key));
        entry.is_some_and(|e| {
            let meta = meta(&e.value);
            meta.uid == owner.uid && is_marked(&meta, FOREGROUND)
        })
    }

    fn target(&self, entry: &Entry) -> Result<Option<Target>, ApiError> {
        let object = object::decode(entry)?;
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let kind = self.backend.kinds.find_by_name(api_version, kind);
        Ok(kind.map(|kind| Target::of(&kind, &object)))
    }

    async fn attempt(&mut self, key: &str) -> Result<(), ApiError> {
        let Some(entry) = self.backend.store.get(key) else {
            return Ok(());
        };
        let meta = meta(&entry.value);
        let Some(target) = self.target(&entry)? else {
            return Ok(());
        };
        if is_marked(&meta, ORPHAN) {
            return self.release_dependents(&target, &meta).await;
        }
        if is_marked(&meta, FOREGROUND) {
            return self.delete_dependents(&target, &meta).await;
        }
        if meta.deletion_timestamp.is_some() || meta.owner_references.is_empty() {
            return Ok(());
        }
        if let Some(owner) = self.invalid_owner(&target, &meta) {
            return self.report(key, &target, &meta, owner).await;
        }
        let namespace = meta.namespace.as_deref();
        let owners = &meta.owner_references;
        let living: Vec<&Owner> = owners.iter().filter(|o| self.lives(o, namespace)).collect();
        let waiting = living.iter().any(|o| self.waits(o, namespace));
        let solid: Vec<&str> = living
            .iter()
            .filter(|o| !self.waits(o, namespace))
            .map(|o| o.uid.as_str())
            .collect();
        if !solid.is_empty() {
            return self
                .drop_owners(&target, &meta, &entry, |o| solid.contains(&o.uid.as_str()))
                .await;
        }
        let has_dependents = !self.owners.dependents(&meta.uid).is_empty();
        let options = DeleteOptions {
            propagation: match waiting && has_dependents {
                true => Some(Propagation::Foreground),
                false => None,
            },
            uid: Some(meta.uid),
            resource_version: Some(entry.revision.to_string()),
        };
        let mut context = WriteContext::internal(self.backend);
        delete::delete(&mut context, &target, &options)
            .await
            .map(|_| ())
    }

    /// Returns an owner reference of a cluster-scoped object that names a namespaced kind. The owner's namespace is
    /// unknown, so nothing can be concluded about whether it exists.
    fn invalid_owner<'m>(&self, target: &Target, meta: &'m Meta) -> Option<&'m Owner> {
        if target.kind.namespaced {
            return None;
        }
        meta.owner_references.iter().find(|owner| {
            let kind = self
                .backend
                .kinds
                .find_by_name(&owner.api_version, &owner.kind);
            kind.is_some_and(|kind| kind.namespaced)
        })
    }

    /// Reports an invalid owner reference once. The object is never collected.
    async fn report(
        &mut self,
        key: &str,
        target: &Target,
        meta: &Meta,
        owner: &Owner,
    ) -> Result<(), ApiError> {
        let object = (key.to_owned(), meta.uid.clone());
        if self.reported.contains(&object) {
            return Ok(());
        }
        invalid_owner::record(self.backend, target, &meta.uid, owner).await?;
        self.reported.insert(object);
        Ok(())
    }

    /// Removes the owner references that `keep` does not select.
    async fn drop_owners(
        &self,
        target: &Target,
        meta: &Meta,
        entry: &Entry,
        keep: impl Fn(&Owner) -> bool,
    ) -> Result<(), ApiError> {
        if meta.owner_references.iter().all(&keep) {
            return Ok(());
        }
        let object = object::decode(entry)?;
        let references = object["metadata"]["ownerReferences"].as_array();
        let pairs = references.into_iter().flatten().zip(&meta.owner_references);
        let left: Vec<_> = pairs
            .filter(|(_, owner)| keep(owner))
            .map(|(value, _)| value)
            .collect();
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": entry.revision.to_string(), "ownerReferences": left,
        }});
        self.patch(target, patch).await
    }

    async fn patch(&self, target: &Target, patch: serde_json::Value) -> Result<(), ApiError> {
        let mut context = WriteContext::internal(self.backend);
        let change = Change::from(Patch::Merge(patch));
        update::update(&mut context, target, &change, &[])
            .await
            .map(|_| ())
    }

    async fn drop_finalizer(
        &self,
        target: &Target,
        meta: &Meta,
        finalizer: &str,
    ) -> Result<(), ApiError> {
        let entry = self.backend.get(target)?;
        let object = object::decode(&entry)?;
        let left: Vec<&str> = object::finalizers(&object)
            .filter(|f| *f != finalizer)
            .collect();
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": entry.revision.to_string(), "finalizers": left,
        }});
        self.patch(target, patch).await
    }

    async fn release_dependents(&mut self, target: &Target, meta: &Meta) -> Result<(), ApiError> {
        for key in self.owners.dependents(&meta.uid) {
            let Some(entry) = self.backend.store.get(&key) else {
                continue;
            };
            let dependent = super::owners::meta(&entry.value);
            if let Some(target) = self.target(&entry)? {
                self.drop_owners(&target, &dependent, &entry, |owner| owner.uid != meta.uid)
                    .await?;
            }
        }
        self.drop_finalizer(target, meta, ORPHAN).await
    }

    /// Deletes the dependents of an object in foreground deletion; once none of them blocks it, removes its finalizer.
    async fn delete_dependents(&mut self, target: &Target, meta: &Meta) -> Result<(), ApiError> {
        let mut blocked = false;
        for key in self.owners.dependents(&meta.uid) {
            let Some(entry) = self.backend.store.get(&key) else {
                continue;
            };
            let Some(dependent_target) = self.target(&entry)? else {
                continue;
            };
            let dependent = super::owners::meta(&entry.value);
            if self.invalid_owner(&dependent_target, &dependent).is_some() {
                // It is never collected, so waiting for it would never end.
                continue;
            }
            let blocks = |o: &Owner| o.uid == meta.uid && o.block_owner_deletion;
            blocked |= dependent.owner_references.iter().any(blocks)
                && !self.waits_for(&dependent, &meta.uid);
            if dependent.deletion_timestamp.is_none() {
                self.work.insert(key);
            }
        }
        if blocked {
            // A change or the deletion of a dependent causes another examination.
            return Ok(());
        }
        self.drop_finalizer(target, meta, FOREGROUND).await
    }

    /// Returns whether `object` waits, directly or through its dependents, for the deletion of the object `uid`: the
    /// two are members of an ownership cycle, in which no member could be deleted first.
    fn waits_for(&self, object: &Meta, uid: &str) -> bool {
        if !is_marked(object, FOREGROUND) {
            return false;
        }
        let mut seen = BTreeSet::new();
        let mut open = vec![object.uid.clone()];
        while let Some(next) = open.pop() {
            if next == uid {
                return true;
            }
            if !seen.insert(next.clone()) {
                continue;
            }
            for key in self.owners.dependents(&next) {
                let entry = self.backend.store.get(&key);
                let dependent = entry.map(|entry| meta(&entry.value));
                open.extend(
                    dependent
                        .filter(|it| is_marked(it, FOREGROUND))
                        .map(|it| it.uid),
                );
            }
        }
        false
    }
}

fn is_marked(meta: &Meta, finalizer: &str) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().any(|f| f == finalizer)
}
