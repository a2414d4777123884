//! QEMU: the driver of Linux, and of macOS with hvf.
//!
//! | module | what it knows |
//! |---|---|
//! | `driver` | start, observe, adopt, destroy |
//! | `files` | QEMU's files in the instance folder |
//! | `machine_spec`, `from_template` | what a machine is made of, and how a template becomes that |
//! | [`command_line`](mod@command_line) | QEMU's options for a machine |
//! | [`accelerator_probe`] | whether the hardware really runs a guest |
//! | [`qmp`] | the control protocol |
//! | `owner` | which process is the VM: the holder of `qemu.lock` |
//! | `control_socket` | which process listens on `qmp.sock` |
//! | `spare` | second names of the sockets, in case the first are removed |
//! | `abilities` | QEMU's version, and whether it supports its sandbox |
//! | [`tcg_threads`] | whether the CPUs of an emulated guest may run in parallel |
//! | [`time_stamp_counter`] | how fast the clock of an emulated processor runs |
//! | `machine` | one running QEMU: its events, its end |
//! | `program` | where QEMU and its firmware are, and what to install |

mod abilities;
pub mod accelerator_probe;
mod command_line;
mod control_socket;
mod driver;
mod files;
mod from_template;
mod machine;
mod machine_spec;
mod owner;
mod probe_guest;
mod program;
pub mod qmp;
mod spare;
mod start;
pub mod tcg_threads;
pub mod time_stamp_counter;

#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;

pub use abilities::Version;
pub use command_line::{Emulation, command_line};
pub use driver::Qemu;
pub use files::QemuFiles;
pub use from_template::Decided;
pub use machine_spec::{AGENT_PORT_NAME, AgentPort, Boot, Disk, Firmware, MachineSpec};
