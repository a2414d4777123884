//! The program from outside: the real binary, real daemons, no VM.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod api;
mod command_line;
mod daemon;
mod describe;
mod docs;
mod instances;
mod limavm;
mod logs;
mod restart;
mod said;
mod service;
mod waiting;
