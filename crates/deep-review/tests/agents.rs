//! `deep-review run` with the real command-line agents and a scripted model.
//!
//! The agents are the vendors' own programs, which `scripts/install-agents` puts into target/tools/agents; a test whose
//! program is not installed prints so and is skipped. Each runs in a network namespace with only loopback, where a
//! small server speaks the vendor's protocol: no request can leave the machine, and no key is real.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and its output is where the reason is looked for"
)]

#[path = "agents/acp.rs"]
mod acp;
#[path = "agents/cage.rs"]
mod cage;
#[path = "agents/claude.rs"]
mod claude;
#[path = "agents/codex.rs"]
mod codex;
#[path = "agents/dialect.rs"]
mod dialect;
#[path = "agents/gemini.rs"]
mod gemini;
#[path = "agents/model.rs"]
mod model;
#[path = "run/repository.rs"]
#[allow(dead_code, reason = "the tests of `run` use the rest of it")]
mod repository;
