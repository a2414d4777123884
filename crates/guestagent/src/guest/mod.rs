//! The program inside the guest.
//!
//! ```text
//! kernel ── initial RAM disk: mounts the root disk, executes init=                                     (initramfs)
//!        ── init=guestagent ──┬─ PID 1: mounts /proc /sys /dev /run, starts the agent, becomes systemd   (init)
//!                             └─ agent: cidata → settings, user, boot scripts, network, sshd → ready
//!                                       → grow the root, provision                                       (boot)
//! systemd ─ ssh.service, rdd-guestagent.service: adopt a running process, or start it                  (handover)
//! ```
//!
//! The agent starts before systemd, because systemd on an emulated machine needs two seconds to read its units and reach a
//! first service. The agent uses that time on the other processor, so ssh answers before systemd has finished. Without
//! `init=` on the kernel's command line the services start the same programs in the ordinary way, only later.

mod boot;
mod channel;
mod data_files;
mod files;
mod handover;
mod identity;
mod init;
mod initramfs;
mod kernel_log;
mod kernel_modules;
mod netlink;
mod power;
mod provision;
mod root_disk;
mod seed;
mod sessions;
mod sshd;
mod system_settings;

use std::process::ExitCode;

/// The path of the program in the guest.
pub(crate) const PROGRAM: &str = "/usr/lib/rdd/guestagent";
/// The path by which the kernel starts the program in the initial RAM disk.
const IN_RAM_DISK: &str = "/init";
/// Contains the agent's PID, for `handover`.
pub(crate) const AGENT_PID_FILE: &str = "/run/rdd-guestagent.pid";
/// The folder of the agent's files while the guest runs.
pub(crate) const RUN_DIR: &str = "/run/rdd";

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    if std::process::id() == 1 && name.as_deref() == Some(std::ffi::OsStr::new(IN_RAM_DISK)) {
        return initramfs::run(arguments);
    }
    if std::process::id() == 1 {
        // Returns only if systemd cannot be executed. The kernel then panics with a message.
        return init::run(arguments);
    }
    match arguments.next().as_deref().and_then(|word| word.to_str()) {
        Some("agent") if arguments.next().is_some_and(|word| word == "--detach") => {
            handover::detach()
        }
        Some("agent") => boot::run(),
        Some("handover") => handover::run(arguments),
        _ => ExitCode::from(2),
    }
}
