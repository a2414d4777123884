//! The crate's tests against real files, a real HTTP server, real qemu-img and real ssh. One program, so that it is
//! linked once.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helper functions too"
)]

mod cidata;
mod crash;
mod download;
mod http_server;
mod images;
mod instance;
mod keys;
mod ssh_config;
mod template;
