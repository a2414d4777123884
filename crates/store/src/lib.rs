//! Revisions, watches and compaction. Knows no Kubernetes kind: keys are strings, values are bytes.
//!
//! A [`Store`] keeps the current value of each key in memory and a durable [`Log`] behind it. Reads and watches
//! never touch the disk; a write is durable before it is acknowledged. Each write gets a [`Revision`], which is
//! larger than those of all earlier writes.
//!
//! A write passes through these files: [`IndexedStore`] (`indexed.rs`) queues it for the writer thread
//! (`writer.rs`), which checks its condition (`batch.rs`), commits the batch to the log (`log.rs`; `sqlite/` or
//! `memory.rs`), publishes the changes to the index (`shared.rs`, `index.rs`) and wakes the watchers of their keys
//! (`prefix_watchers.rs`, `watcher.rs`). A log with other writers has an [`EventSource`], from which a second thread
//! (`feed.rs`) feeds the index. `retention.rs` bounds the history, `lease.rs` deletes expired keys, and `database.rs`
//! has what only a store over a SQLite database can do: backups, and the repair of damaged rows.

mod batch;
mod change;
mod contents;
mod database;
mod error;
mod feed;
mod history;
mod index;
mod indexed;
mod lease;
mod log;
mod memory;
mod prefix_watchers;
mod retention;
mod shared;
mod sqlite;
mod store;
mod value;
mod watcher;
mod writer;

pub use crate::change::{Mutation, Record};
pub use crate::contents::Contents;
pub use crate::database::RestoreError;
pub use crate::error::Error;
pub use crate::indexed::{IndexedStore, Options};
pub use crate::log::{EventSource, Log, LogError, Outcome, Proposal};
pub use crate::retention::Retention;
pub use crate::sqlite::{Backups, OpenError, Opening, quarantine_list, remove as remove_database};
pub use crate::store::{Entry, Event, Expect, Page, Quarantined, Store, Write};
pub use crate::value::{Revision, Value};
