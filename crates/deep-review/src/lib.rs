//! The deep-review program: starts the reviewers of a change, keeps their answers, and writes the report.

pub mod adapters;
pub mod cli;
pub mod git;
pub mod input;
pub mod pristine;
pub mod run;
pub mod settings;
pub mod state;
pub mod target;
pub mod verify;
pub mod worktree;
