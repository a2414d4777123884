//! The garbage collector: deletes objects whose owners are gone, carries out foreground and orphan deletion.
//!
//! It follows the store's log, so it works on what was committed, in order; every decision is checked against the
//! current state with preconditions, so an object that changed meanwhile is not touched but looked at again.

use std::{collections::BTreeSet, sync::Arc};

use futures::StreamExt as _;
use serde_json::json;
use store::{Entry, Event};

use super::{
    RETRY,
    owners::{Meta, Owner, Owners, meta},
};
use crate::{
    object,
    patch::Patch,
    registry::{
        Target, WriteContext,
        delete::{self, DeleteOptions, FOREGROUND, ORPHAN, Propagation},
        update::{self, Change},
    },
    server::Inner,
    status::ApiError,
};

const EVERYTHING: &str = "/registry/";

struct Collector<'a> {
    server: &'a Arc<Inner>,
    owners: Owners,
    /// Keys to look at.
    work: BTreeSet<String>,
}

/// What can occur in the encoded form of an object that concerns the collector.
fn concerns(bytes: &[u8]) -> bool {
    object::contains(bytes, b"\"ownerReferences\"")
        || object::contains(bytes, b"\"deletionTimestamp\"")
}

pub(super) async fn run(server: &Arc<Inner>) {
    loop {
        if let Err(error) = follow(server).await {
            tracing::warn!(%error, "garbage collection starts over");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(server: &Arc<Inner>) -> Result<(), ApiError> {
    let mut collector = Collector {
        server,
        owners: Owners::default(),
        work: BTreeSet::new(),
    };
    let page = server.store.list(EVERYTHING, None, 0, None)?;
    let revision = page.revision;
    for entry in &page.entries {
        collector.seen(entry);
    }
    drop(page);
    collector.work.extend(collector.owners.all());
    let mut events = server.store.watch(EVERYTHING, revision)?;
    loop {
        if !collector.work.is_empty() && !collector.attempt_all().await {
            // Something failed: it stays in the work, and is tried again after a pause or the next event.
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
            Event::Put { entry, .. } => self.seen(&entry),
            Event::Delete { entry, .. } => {
                // Owners that wait for their dependents look again.
                let owners = self.owners.owners(&entry.key).to_vec();
                self.owners.remove(&entry.key);
                self.work.remove(&entry.key);
                let gone = meta(&entry.value);
                self.work.extend(self.owners.dependents(&gone.uid));
                if !owners.is_empty() {
                    for owner in &gone.owner_references {
                        self.work
                            .extend(self.key_of(owner, gone.namespace.as_deref()));
                    }
                }
            }
            Event::Progress(_) => {}
        }
    }

    /// Looks at each key once; tells whether all went well.
    async fn attempt_all(&mut self) -> bool {
        let mut failed = BTreeSet::new();
        while let Some(key) = self.work.pop_first() {
            if let Err(error) = self.attempt(&key).await
                && error.code != 404
            {
                tracing::debug!(key, %error, "garbage collection of an object is tried again");
                failed.insert(key);
            }
        }
        self.work = failed;
        self.work.is_empty()
    }

    fn key_of(&self, owner: &Owner, namespace: Option<&str>) -> Option<String> {
        let resource = self
            .server
            .registry
            .find_kind(&owner.api_version, &owner.kind)?;
        let namespace = namespace.filter(|_| resource.namespaced);
        Some(resource.key(namespace, &owner.name))
    }

    /// Whether the owner exists; an owner of an unknown kind counts as existing, since nobody can tell.
    fn lives(&self, owner: &Owner, namespace: Option<&str>) -> bool {
        match self.key_of(owner, namespace) {
            None => true,
            Some(key) => self
                .server
                .store
                .get(&key)
                .is_some_and(|e| meta(&e.value).uid == owner.uid),
        }
    }

    /// Whether the owner waits in the foreground for this dependent to go.
    fn waits(&self, owner: &Owner, namespace: Option<&str>) -> bool {
        let entry = self
            .key_of(owner, namespace)
            .and_then(|key| self.server.store.get(&key));
        entry.is_some_and(|e| {
            let meta = meta(&e.value);
            meta.uid == owner.uid && is_marked(&meta, FOREGROUND)
        })
    }

    fn target(&self, entry: &Entry) -> Result<Option<Target>, ApiError> {
        let object = object::decode(entry)?;
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let resource = self.server.registry.find_kind(api_version, kind);
        Ok(resource.map(|resource| Target::of(&resource, &object)))
    }

    async fn attempt(&mut self, key: &str) -> Result<(), ApiError> {
        let Some(entry) = self.server.store.get(key) else {
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
        let namespace = meta.namespace.as_deref();
        let gone = |owner: &&Owner| !self.lives(owner, namespace);
        let waiting = meta
            .owner_references
            .iter()
            .any(|o| self.waits(o, namespace));
        let solid = meta
            .owner_references
            .iter()
            .any(|o| self.lives(o, namespace) && !self.waits(o, namespace));
        let lost: Vec<&str> = meta
            .owner_references
            .iter()
            .filter(gone)
            .map(|o| o.uid.as_str())
            .collect();
        if solid {
            return self
                .drop_owners(&target, &meta, &entry, |o| !lost.contains(&o.uid.as_str()))
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
        let mut context = WriteContext::internal(self.server);
        delete::delete(&mut context, &target, &options)
            .await
            .map(|_| ())
    }

    /// Keeps only some of the owner references.
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
        let mut context = WriteContext::internal(self.server);
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
        let entry = crate::registry::get(self.server, target)?;
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
            let Some(entry) = self.server.store.get(&key) else {
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

    async fn delete_dependents(&mut self, target: &Target, meta: &Meta) -> Result<(), ApiError> {
        let mut blocked = false;
        for key in self.owners.dependents(&meta.uid) {
            let Some(entry) = self.server.store.get(&key) else {
                continue;
            };
            let dependent = super::owners::meta(&entry.value);
            let blocks = |o: &Owner| o.uid == meta.uid && o.block_owner_deletion;
            blocked |= dependent.owner_references.iter().any(blocks);
            if dependent.deletion_timestamp.is_none() {
                self.work.insert(key);
            }
        }
        if blocked {
            // Looked at again when a dependent goes.
            return Ok(());
        }
        self.drop_finalizer(target, meta, FOREGROUND).await
    }
}

fn is_marked(meta: &Meta, finalizer: &str) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().any(|f| f == finalizer)
}
