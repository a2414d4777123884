//! Merges the reviews of several reviewers into one report: parses them, checks their findings against the code, merges
//! findings about the same defect, and writes the report.
//!
//! *Architecture invariant*: pure. This crate starts no process and reads no environment, file or clock; `deep-review`
//! does, and passes the data in.

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
