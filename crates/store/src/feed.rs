//! Feeds the index from the event source of a log that has several writers.

use std::sync::Arc;
use std::time::Duration;

use crate::log::EventSource;
use crate::shared::Shared;

/// The pause after a failure of the event source.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes what the source delivers until the source ends, and closes the store then: its reads would become
/// stale without a sign.
pub(crate) fn run(mut source: Box<dyn EventSource>, shared: &Arc<Shared>) {
    loop {
        match source.next() {
            Ok(Some(records)) => drop(shared.publish(records)),
            Ok(None) => break,
            Err(failure) => {
                tracing::warn!(error = %failure, "reading the events of other writers failed");
                if shared.pause(RETRY) {
                    break;
                }
            }
        }
    }
    shared.close();
}
