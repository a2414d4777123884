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

    /// Returns the kind that a request names. If there is none but the catalog is behind the definitions in the
    /// store, waits for the catalog first.
    pub(crate) async fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        if let Some(kind) = self.kinds.find(group, version, plural) {
            return Some(kind);
        }
        let page = self.store.list(definitions::PREFIX, None, 0, None).ok()?;
        let newest = page.entries.iter().map(|entry| entry.revision).max()?;
        if newest <= self.kinds.reached() {
            return None;
        }
        self.kinds.wait_for(newest).await;
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
