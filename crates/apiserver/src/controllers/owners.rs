//! [`Owners`]: an index of the objects with owner references, by owner.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

/// The metadata that the garbage collector needs.
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

/// Decodes the metadata of an encoded object.
pub(super) fn meta(bytes: &[u8]) -> Meta {
    serde_json::from_slice::<Head>(bytes)
        .map(|head| head.metadata)
        .unwrap_or_default()
}

/// The index of the objects with owner references.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The keys of the dependents, by the UID of the owner.
    dependents: HashMap<String, BTreeSet<String>>,
    /// The UIDs of the owners, by the key of the dependent; needed to remove a dependent.
    owners: HashMap<String, Vec<String>>,
}

impl Owners {
    /// Records the owners of an object, replacing those recorded before.
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

    /// Removes an object from the dependents.
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

    /// Returns the keys of the objects that the object with this UID owns.
    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Returns the keys of all dependents.
    pub(super) fn all(&self) -> Vec<String> {
        self.owners.keys().cloned().collect()
    }
}
