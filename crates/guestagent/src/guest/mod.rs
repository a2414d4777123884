//! The program inside the guest.
//!
//! ```text
//! kernel ── init=guestagent ──┬─ PID 1: mounts /proc /sys /dev /run, starts the agent, becomes systemd   (init)
//!                             └─ agent: cidata → user, keys, network, sshd → ready → grow root, provision (boot)
//! systemd ─ ssh.service, rdd-guestagent.service: adopt what runs already, or start it                  (handover)
//! ```
//!
//! Why before systemd: on an emulated machine systemd needs two seconds to read its units and reach a first service.
//! The agent uses that time on the other processor, and ssh answers before systemd has finished. Without `init=` on
//! the kernel's command line the same services start the same programs in the ordinary way, only later.

mod boot;
mod channel;
mod files;
mod handover;
mod identity;
mod init;
mod kernel_log;
mod kernel_modules;
mod netlink;
mod power;
mod provision;
mod root_disk;
mod seed;
mod sessions;
mod sshd;

use std::process::ExitCode;

/// Where the program is in the guest.
pub(crate) const PROGRAM: &str = "/usr/lib/rdd/guestagent";
/// The agent's process id, for `handover`.
pub(crate) const AGENT_PID_FILE: &str = "/run/rdd-guestagent.pid";
/// What the agent keeps while the guest runs.
pub(crate) const RUN_DIR: &str = "/run/rdd";

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let _ = arguments.next();
    if std::process::id() == 1 {
        // Only returns when there is no systemd to become; the kernel then panics and says so.
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
