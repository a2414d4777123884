//! The kit with a small controller of its own (`toy.rs`) against a real API server, in process and over HTTPS.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod manager;
mod plane;
mod reconcile;
mod toy;
