//! Many reviewers, one report that can be trusted.

pub mod adapters;
pub mod cli;
pub mod eval;
pub mod git;
pub mod import;
pub mod lead;
pub mod merge;
pub mod model;
pub mod parse;
pub mod pristine;
pub mod prompt;
pub mod report;
pub mod rounds;
pub mod run;
pub mod stats;
pub mod target;
pub mod verify;
pub mod worktree;
