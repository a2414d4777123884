//! The errors of reads, writes and watches.

use crate::value::Revision;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The condition of a write did not hold.
    #[error("{key}: {}", match actual { Some(r) => format!("is at revision {r}"), None => "does not exist".into() })]
    Conflict {
        /// The key of the write.
        key: String,
        /// The revision of the existing value; `None` when the key does not exist.
        actual: Option<Revision>,
    },
    /// The requested revision is older than the history that compaction kept.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The requested revision.
        asked: Revision,
        /// The oldest revision that can be requested.
        oldest: Revision,
    },
    /// The requested revision has not been written yet.
    #[error("revision {asked} is in the future, the current one is {current}")]
    Future {
        /// The requested revision.
        asked: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The watcher fell too far behind and was disconnected; it has to list again.
    #[error("the watcher fell behind and was disconnected")]
    Lagged,
    /// The backend failed; nothing was written.
    #[error("{doing}: {source}")]
    Backend {
        /// The failed step and the database.
        doing: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}
