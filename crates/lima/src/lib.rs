//! Lima's templates, instance folders, images, disks, cidata and ssh keys.
//!
//! The functions block, and take paths, progress sinks and cancel tokens as values; an async caller uses `spawn_blocking`.
//! This crate starts no VM: it prepares the files that a driver boots from.
//!
//! | module | content |
//! |---|---|
//! | [`template`] | `lima.yaml`: base templates, parsing, validation, defaults, parameters |
//! | [`layout`] | the paths of an instance's files, and the length of its socket paths |
//! | [`image`] | the cache of downloads, with digest and resume, and of images built on this machine |
//! | [`instance`] | preparing, changing, listing and deleting instance folders |
//! | [`cidata`] | the NoCloud disk with the identity and settings of a guest |
//! | [`keys`] | the ssh key pair of a Lima home |
//! | [`ssh_config`] | the `ssh.config` of an instance |
//!
//! File names and field names are Lima's (<https://lima-vm.io/docs/dev/internals/>), for Lima's users and tools.

pub mod cidata;
pub mod image;
pub mod instance;
pub mod keys;
pub mod layout;
pub mod progress;
pub mod ssh_config;
pub mod template;
mod yaml;
