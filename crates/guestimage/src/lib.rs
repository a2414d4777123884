//! Builds a guest image that boots fast, from a distribution's packages.
//!
//! ```text
//! packages ──mmdebstrap──▶ rootfs.tar ──tar──▶ rootfs/ ──mke2fs -d──▶ disk.raw ──qemu-img──▶ disk.qcow2 ─┐
//!    overlay.tar (units, settings, guestagent) ▲   └─ boot/vmlinuz ──▶ vmlinux (PVH) ────────────────────┴▶ cache
//! ```
//!
//! No loop device and no mount is used. As root mmdebstrap works as root; otherwise in a user namespace, and `fakeroot`
//! keeps owners and device nodes between `tar` and `mke2fs`. How a driver boots the result is in `BOOT.md`.
//!
//! | module | what it knows |
//! |---|---|
//! | [`recipe`] | which packages, and what the distribution is called where |
//! | `fingerprint` | whether an image in the cache is out of date |
//! | [`mirror`] | which mirror this host uses |
//! | [`overlay`] | what we add to the packages: units that are off, the agent, settings |
//! | [`tools`] | which programs a build needs, and which packages have them |
//! | [`work_folder`] | the folder of a build, and clearing what killed builds left |
//! | [`kernel`] | the ELF kernel inside a `vmlinuz` |
//!
//! Blocking: an async caller uses `spawn_blocking`.

mod build;
mod error;
mod fingerprint;
pub mod kernel;
mod lz4;
pub mod mirror;
pub mod overlay;
mod progress;
pub mod recipe;
mod steps;
mod tar;
pub mod tools;
pub mod work_folder;

pub use build::{Options, build};
pub use error::BuildError;
pub use fingerprint::is_current;
pub use progress::{Progress, Silent, Step};
pub use recipe::Recipe;
