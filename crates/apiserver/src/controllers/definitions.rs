//! Serves the kinds that CustomResourceDefinitions declare, by following the definitions in the store. It does not
//! matter which process wrote them.

use std::sync::Arc;

use futures::StreamExt as _;
use store::{Entry, Event, Revision};

use super::RETRY;
use crate::{kinds::definitions::PREFIX, object, registry::backend::Backend, status::ApiError};

/// Serves the definitions that are in the store now; returns the revision at which they were read.
pub(crate) fn load(backend: &Backend) -> Result<Revision, store::Error> {
    let page = backend.store.list(PREFIX, None, 0, None)?;
    let definitions = page.entries.iter().filter_map(|entry| {
        // A definition that cannot be decoded does not stop the others.
        let decoded = object::decode(entry);
        let definition = decoded.inspect_err(|error| report(entry, error)).ok()?;
        Some((name(entry).to_owned(), definition))
    });
    backend.kinds.define_all(definitions, page.revision);
    backend.kinds.advance(page.revision);
    Ok(page.revision)
}

fn name(entry: &Entry) -> &str {
    entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key)
}

fn report(entry: &Entry, error: &ApiError) {
    tracing::error!(key = entry.key, %error, "a custom resource definition cannot be decoded and is not served");
}

/// Follows the definitions from a revision on. If the watch breaks, loads them anew.
pub(super) async fn run(backend: &Arc<Backend>, mut from: Revision) {
    loop {
        let ended = follow(backend, from).await;
        let Err(error) = ended else {
            // The store is closed.
            return;
        };
        tracing::warn!(%error, "the watch of the custom resource definitions broke; loading them anew");
        from = loop {
            match load(backend) {
                Ok(revision) => break revision,
                Err(error) => {
                    tracing::warn!(%error, "the custom resource definitions cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
    }
}

async fn follow(backend: &Backend, from: Revision) -> Result<(), store::Error> {
    let mut events = backend.store.watch(PREFIX, from)?;
    while let Some(event) = events.next().await {
        let reached = match event? {
            Event::Put { entry, .. } => {
                match object::decode(&entry) {
                    Ok(definition) => {
                        let kinds = &backend.kinds;
                        kinds.define(name(&entry), Some(&definition), entry.revision);
                    }
                    Err(error) => report(&entry, &error),
                }
                entry.revision
            }
            Event::Delete { entry, .. } => {
                backend.kinds.define(name(&entry), None, entry.revision);
                entry.revision
            }
            Event::Progress(revision) => revision,
        };
        backend.kinds.advance(reached);
    }
    Ok(())
}
