//! Tests against real files, a real HTTP server, real qemu-img and real ssh. One program, so that it is linked once.
//!
//! On Windows only the tests of keys and of crashes run: the others need programs of Unix (isoinfo, qemu-img, sh) or
//! properties of its file systems.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helper functions too"
)]

#[cfg(unix)]
mod cidata;
#[cfg(unix)]
mod corpus;
mod crash;
#[cfg(unix)]
mod download;
#[cfg(unix)]
mod embed;
#[cfg(unix)]
mod http_server;
#[cfg(unix)]
mod images;
#[cfg(unix)]
mod instance;
mod keys;
#[cfg(unix)]
mod ssh_config;
#[cfg(unix)]
mod template;
