//! What every backend has to do, each test once per backend.
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
mod watches;
mod writes;
