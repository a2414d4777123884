//! Builds a guest image that boots fast, from a distribution's packages.
//!
//! ```text
//! packages ──mmdebstrap──▶ rootfs.tar ──tar──▶ rootfs/ ──mke2fs -d──▶ disk.raw ──qemu-img──▶ disk.qcow2 ─┐
//!    overlay.tar (units, settings, guestagent) ▲   └─ boot/vmlinuz ──▶ vmlinux (PVH) ────────────────────┴▶ cache
//! ```
//!
//! A build uses no loop device and no mount. Without root, mmdebstrap runs in a user namespace, and `fakeroot` keeps owners
//! and device nodes between `tar` and `mke2fs`. `BOOT.md` describes how a driver boots the result.
//!
//! | module | content |
//! |---|---|
//! | [`recipe`] | the distributions and their packages |
//! | `fingerprint` | whether an image in the cache is out of date |
//! | [`mirror`] | the mirror that this host uses |
//! | [`overlay`] | the files beside the packages: the agent, settings, masked units |
//! | [`tools`] | the programs that a build needs, and the packages that have them |
//! | [`work_folder`] | the folder of a build, and the removal of those of killed builds |
//! | [`kernel`] | the ELF kernel inside a `vmlinuz` |
//!
//! The functions block; an async caller uses `spawn_blocking`.

mod build;
mod error;
mod fingerprint;
mod initrd;
pub mod kernel;
pub mod mirror;
pub mod overlay;
mod progress;
pub mod recipe;
mod steps;
pub mod tools;
pub mod work_folder;

pub use build::{Options, build};
pub use error::BuildError;
pub use fingerprint::is_current;
pub use progress::{Progress, Silent, Step};
pub use recipe::Recipe;
