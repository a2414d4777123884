//! The LimaVM controller against a real API server (over a store in memory) and real instance folders. The hostagents are
//! fakes (`fake_hostagent.rs`): real processes that hold the real lock and speak the real protocol, without a machine. Crate
//! `rdd` tests real hostagents with QEMU.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod admission;
mod crashing;
mod crowds;
mod deleting;
mod fake_hostagent;
mod full_disk;
mod lifecycle;
mod names;
mod orphans;
mod shutdown;
mod stopping;
mod story;
mod support;
mod template_changes;
mod templates;
mod unreadable;
