//! The API server as clients see it: in process, with kube-rs, over HTTPS, with the real kubectl.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a panic is how a test fails; literals are passed as they are"
)]

mod admission;
mod bombs;
mod bounds;
mod client;
mod content;
mod deletions;
mod discovery;
mod fuzz;
mod kinds;
mod kubectl;
mod lists;
mod objects;
mod rules;
mod schemas;
mod security;
mod support;
mod watches;
