//! [`Backend`]: all that the registry works on.

use std::sync::Arc;

use store::{Entry, Write};

use super::target::Target;
use crate::{
    admission::chain::Chain,
    config::Clock,
    kinds::{catalog::Catalog, definitions, kind::Kind},
    status::ApiError,
};

/// All that the registry works on.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn store::Store>,
    pub(crate) clock: Clock,
    pub(crate) admission: Chain,
    pub(crate) kinds: Catalog,
}

impl Backend {
    /// Returns the time in the form that objects hold.
    pub(crate) fn now(&self) -> String {
        (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Returns the current entry of an object.
    pub(crate) fn get(&self, target: &Target) -> Result<Entry, ApiError> {
        let entry = self.store.get(&target.key());
        entry.ok_or_else(|| target.about().not_found(&target.name))
    }

    /// Returns the kind that a request names, as the definition in the store declares it at this moment: if the catalog
    /// is behind, waits for it first.
    pub(crate) async fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let found = self.kinds.find(group, version, plural);
        if found.as_ref().is_some_and(|kind| kind.is_typed()) {
            return found;
        }
        // Without a definition the kind is not served, even if the catalog still has it.
        let key = format!("{}{plural}.{group}", definitions::PREFIX);
        let definition = self.store.get(&key)?;
        if definition.revision <= self.kinds.reached() {
            return found;
        }
        self.kinds.wait_for(definition.revision).await;
        self.kinds.find(group, version, plural)
    }

    /// Writes an object. A write of a definition returns once the catalog reflects it, so that the client finds the
    /// kind served as it has just defined it.
    pub(super) async fn commit(
        &self,
        target: &Target,
        write: Write,
    ) -> Result<Entry, store::Error> {
        let entry = self.store.write(write).await?;
        if target.kind.group == definitions::GROUP && target.kind.plural == definitions::PLURAL {
            self.kinds.wait_for(entry.revision).await;
        }
        Ok(entry)
    }
}
