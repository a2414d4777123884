//! The crate's tests against real files, a real HTTP server, real qemu-img and real ssh. One program, so that it is
//! linked once.
//!
//! On Windows there are the keys and their crashes only: the rest asks for programs of Unix (isoinfo,
//! qemu-img, sh) or looks at what only its file systems have.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helper functions too"
)]

#[cfg(unix)]
mod cidata;
mod crash;
#[cfg(unix)]
mod download;
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
