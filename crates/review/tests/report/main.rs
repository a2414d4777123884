//! Reports as people and programs get them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, and says when it skips"
)]

mod browser;
mod corpus;
mod formats;
mod hostile;
mod page;
mod prose;
mod round_trip;
mod sample;
