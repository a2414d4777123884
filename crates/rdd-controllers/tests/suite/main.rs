//! The controllers against a real API server over a store in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod notary;
mod plane;
mod replica_set;
