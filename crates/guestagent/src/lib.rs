//! The small static program inside the guest, and the protocol that it speaks.
//!
//! The hostagent uses [`protocol`]. The other modules are the parts of the program that make no system calls: they take
//! texts and bytes and return values. They are in the library so that their tests run on any machine. The program itself is
//! `main.rs` with the modules in `guest/`.

pub mod accounts;
pub mod cidata;
pub mod iso9660;
pub mod managed_block;
pub mod modules;
pub mod protocol;
