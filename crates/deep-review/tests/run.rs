//! `deep-review run` and `resolve`, as users run them: real git repositories, real analysers if they are installed, and
//! scripts in place of agents that speak each adapter's documented output.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and its output is where the reason is looked for"
)]

#[path = "run/adapters.rs"]
mod adapters;
#[path = "run/analysers.rs"]
mod analysers;
#[path = "run/complete.rs"]
mod complete;
#[path = "run/hostile.rs"]
mod hostile;
#[path = "run/interrupted.rs"]
mod interrupted;
#[path = "run/judges.rs"]
mod judges;
#[path = "run/repository.rs"]
mod repository;
#[path = "run/rounds.rs"]
mod rounds;
#[path = "run/settings.rs"]
mod settings;
#[path = "run/shared.rs"]
mod shared;
#[path = "run/targets.rs"]
mod targets;
#[path = "run/terminal.rs"]
mod terminal;
#[path = "run/verified.rs"]
mod verified;
