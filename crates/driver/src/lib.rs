//! What runs a virtual machine: two traits, [`Driver`] and [`Machine`], and one implementation for each `vmType`.
//!
//! A driver starts a machine, finds one that already runs and adopts it without touching the guest
//! ([`Driver::adopt`]), and reports whether one runs ([`Driver::observe`]). A running machine is a [`Machine`].
//!
//! Dropping a handle never ends a VM: the VM's process has its own session and runs until it is asked to stop. A VM is
//! identified by something that it holds (a lock, a registration of the system), never by a number read from a file.
//!
//! | module | what it knows |
//! |---|---|
//! | `interface` | the two traits, and what a driver can do ([`Capabilities`]) |
//! | `machine` | states, events and records, the same for all drivers |
//! | `error` | [`DriverError`] |
//! | [`qemu`] | QEMU: Linux; macOS with hvf |
//! | [`wsl`] | WSL2: Windows |
//! | `choose` | which driver runs which VM ([`for_vm_type`], [`for_instance`]) |
//! | [`tail`] | the last lines of a log, for messages |
//!
//! `docs/adding-a-driver.md` names the steps to add another one.

mod accelerator;
mod choose;
mod error;
mod host;
mod interface;
mod machine;
pub mod qemu;
mod record;
pub mod tail;
mod watched;
pub mod wsl;

pub use accelerator::Accelerator;
pub use choose::{for_instance, for_vm_type};
pub use error::DriverError;
pub use host::Host;
pub use interface::{Capabilities, Driver, Machine, StartRequest};
pub use machine::{
    Exit, LogFile, MachineEvent, MachineFiles, MachineRecord, MachineState, RunStatus,
};
