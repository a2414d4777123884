//! Real VMs: the real binary, QEMU, ssh and the Debian 12 image that `rdd image build` makes.
//!
//! All are in one test program, so that it is linked once. Each test has an instance and a home folder of its own and
//! acquires a slot before it boots, because emulated guests share the cores.

#![cfg(unix)] // No VM runs on Windows yet.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod adoption;
mod bad_input;
mod crash_points;
mod full_disk;
mod guest;
mod health;
mod kubectl;
mod lifecycle;
mod service_stop;
mod soak;
