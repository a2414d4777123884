//! The process of one VM: starts or adopts the VM, watches it, reports its status, stops it.
//!
//! A hostagent runs in its own session and holds `ha.lock` for its whole life, so it outlives the daemon, and the next
//! daemon finds it. The VM's process has its own session too and outlives the hostagent: the next hostagent adopts the VM
//! without touching the guest.
//!
//! | module | what it knows |
//! |---|---|
//! | `prepare` | the files and the start of a VM, or its adoption |
//! | `supervisor` | the state machine of one VM, and the task that owns it |
//! | `components` | what is watched, one file each: machine, disk space, guest agent, clock, login, logs |
//! | `login_schedule` | when to try a login, and what the results mean |
//! | `stop_sequence` | ending a VM |
//! | `guest_channel` | the connection to the agent inside the guest |
//! | `known_hosts` | the guest's ssh host keys |
//! | `memory` | what the next hostagent of the same VM needs to know |
//! | `control` | `ha.sock`: HTTP for clients that read the status, watch it, or stop the VM |
//! | `report` | the current status and its events |
//! | `stages` | how long each stage of the VM's life took |
//! | `log_rotation` | keeping logs small |
//! | [`client`] | the other end of `ha.sock`, and what can be done without it |
//! | [`status`] | phases, the answer of `/v1/info`, Lima's events |

pub mod client;
mod clock;
mod components;
mod control;
mod guest_channel;
mod known_hosts;
mod log_rotation;
mod login_schedule;
mod memory;
mod options;
mod outcome;
mod prepare;
mod report;
mod run;
mod ssh_port;
mod ssh_probe;
mod stages;
pub mod status;
mod stop_sequence;
mod supervisor;
#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;

pub use options::{Limits, Options};
pub use outcome::{Outcome, RunError};
pub use run::run;
