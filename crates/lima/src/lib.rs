//! Lima's templates, instance folders, images, disks, cidata and ssh keys.
//!
//! Everything here blocks and takes paths, clocks, progress sinks and cancel tokens as values; an async caller uses
//! `spawn_blocking`. Nothing here starts a VM: this crate prepares the files that a driver boots from.
//!
//! | module | what it knows |
//! |---|---|
//! | [`template`] | `lima.yaml`: parsing with field paths, validation, defaults, parameters |
//! | [`layout`] | which file of an instance lives where, and whether its socket paths fit |
//! | [`image`] | the cache: downloads with digest and resume, images built on this machine |
//! | [`instance`] | preparing, changing, listing and deleting instance folders |
//! | [`cidata`] | the NoCloud disk that tells a guest who it is |
//! | [`keys`] | the ssh key pair of a Lima home |
//! | [`ssh_config`] | the `ssh.config` of an instance |
//!
//! Lima's file names and field names are facts of <https://lima-vm.io/docs/dev/internals/>, so that Lima's users and
//! tools find their way.

pub mod cidata;
pub mod image;
pub mod instance;
pub mod keys;
pub mod layout;
pub mod progress;
pub mod ssh_config;
pub mod template;
mod yaml;
