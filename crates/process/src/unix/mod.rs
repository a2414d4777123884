//! The Unix implementation. What differs between Linux and macOS is in `linux.rs` and `macos.rs`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    Handle, Snapshot, boot_id, carries, children, is_ending, own_environment, snapshot, start_time,
};
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(any(not(target_os = "linux"), test))]
mod macos_procargs;
#[cfg(not(target_os = "linux"))]
pub(crate) use macos::{
    Handle, Snapshot, boot_id, carries, children, is_ending, own_environment, snapshot, start_time,
};

pub(crate) mod capture;
pub(crate) mod child;
pub(crate) mod files;
pub(crate) mod lock;
pub(crate) mod start_state;
pub(crate) mod stop;

use crate::held::Signal;

/// Kills this process without running any more of its code (crash points).
pub(crate) fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // Not reached, because no process survives SIGKILL.
    std::process::abort()
}

fn signal_number(signal: Signal) -> rustix::process::Signal {
    use rustix::process::Signal as Unix;
    match signal {
        Signal::Terminate => Unix::TERM,
        Signal::Interrupt => Unix::INT,
        Signal::Hangup => Unix::HUP,
        Signal::Kill => Unix::KILL,
        Signal::Stop => Unix::STOP,
        Signal::Continue => Unix::CONT,
    }
}
