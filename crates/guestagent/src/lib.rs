//! The small static program inside the guest, and the protocol it speaks.
//!
//! [`protocol`] is what the hostagent uses. The other modules are the parts of the program that decide without touching
//! the system (they read bytes and return values), kept in the library so that they are tested on any machine. The
//! program itself is `main.rs` with the modules under `guest/`.

pub mod accounts;
pub mod cidata;
pub mod iso9660;
pub mod modules;
pub mod protocol;
