//! Who owns whom: an index of the objects that have owner references, and only of those.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

/// What the garbage collector needs to know of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) owner_references: Vec<Owner>,
    #[serde(default)]
    pub(super) finalizers: Vec<String>,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<String>,
}

/// One owner reference.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    #[serde(default)]
    pub(super) block_owner_deletion: bool,
}

#[derive(Deserialize)]
struct Head {
    metadata: Meta,
}

/// The metadata of an encoded object.
pub(super) fn meta(bytes: &[u8]) -> Meta {
    serde_json::from_slice::<Head>(bytes)
        .map(|head| head.metadata)
        .unwrap_or_default()
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Keys of the dependents by their owner's uid.
    dependents: HashMap<String, BTreeSet<String>>,
    /// The owners' uids by the dependent's key, to take a dependent out again.
    owners: HashMap<String, Vec<String>>,
}

impl Owners {
    /// Notes an object's owners, in place of those noted before.
    pub(super) fn put(&mut self, key: &str, owners: &[Owner]) {
        self.remove(key);
        if owners.is_empty() {
            return;
        }
        for owner in owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.to_owned());
        }
        let uids = owners.iter().map(|o| o.uid.clone()).collect();
        self.owners.insert(key.to_owned(), uids);
    }

    /// Forgets an object as a dependent.
    pub(super) fn remove(&mut self, key: &str) {
        for uid in self.owners.remove(key).unwrap_or_default() {
            if let Some(keys) = self.dependents.get_mut(&uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(&uid);
                }
            }
        }
    }

    /// The keys of the objects that this uid owns.
    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The owners' uids that a dependent has.
    pub(super) fn owners(&self, key: &str) -> &[String] {
        self.owners.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// All dependents.
    pub(super) fn all(&self) -> Vec<String> {
        self.owners.keys().cloned().collect()
    }
}
