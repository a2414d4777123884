//! What the database file goes through: kills, full disks, other programs.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how tests fail"
)]

mod child;
mod full_disk;
mod history;
mod killed;
mod opening;
