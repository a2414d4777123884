//! The program from outside: the real binary, real daemons, no VM. On Windows, or under Wine, what needs no shell, no
//! kubectl and no qemu-img runs too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

#[cfg(unix)]
mod api;
mod command_line;
mod daemon;
#[cfg(unix)]
mod damage;
#[cfg(unix)]
mod describe;
#[cfg(unix)]
mod docs;
mod instances;
#[cfg(unix)]
mod limavm;
mod logs;
#[cfg(unix)]
mod orphans;
#[cfg(unix)]
mod ownership;
mod restart;
mod said;
mod service;
#[cfg(unix)]
mod waiting;
#[cfg(windows)]
mod windows;
