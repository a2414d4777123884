//! The contract of every backend: each test runs once per backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how tests fail"
)]

#[macro_use]
mod backend;
mod compaction;
mod leases;
mod model;
mod reads;
mod shared_log;
mod two_writers;
mod watches;
mod writes;
