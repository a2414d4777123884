//! The database file: kills, full disks, damage, upgrades, other programs.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how tests fail"
)]

mod child;
mod damage;
mod full_disk;
mod history;
mod killed;
mod opening;
mod reserve;
mod revisions;
mod upgrade;
mod wal;
