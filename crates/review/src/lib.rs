//! Many reviewers, one report that can be trusted: what reviewers say, read, checked, merged and shown.
//!
//! *Architecture invariant*: pure. Nothing here starts a process, reads the environment, opens a file or asks the time;
//! `deep-review` does, and passes in what it read.

pub mod diff;
pub mod fence;
pub mod files;
pub mod import;
pub mod lead;
pub mod merge;
pub mod model;
pub mod parse;
pub mod plain;
pub mod report;
pub mod rounds;
pub mod settings;
pub mod standing;
pub mod stats;
pub mod verify;
