//! `guestagent handover PIDFILE NAME PROGRAM [ARGUMENT…]`: the `ExecStart=` of services whose process may be running
//! already, because the agent started it before systemd.
//!
//! A running process is moved into the service's control group, and this command exits. With `Type=forking` and the same
//! `PIDFile=`, systemd then supervises the process like one of its own. Otherwise PROGRAM is executed as usual.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use super::{AGENT_PID_FILE, PROGRAM, files, kernel_log};

/// The time for the agent to write its PID file, which it does first.
const DETACH_LIMIT: Duration = Duration::from_secs(10);
const DETACH_POLL: Duration = Duration::from_millis(20);
/// The agent's name in `/proc/PID/comm`.
const AGENT_NAME: &str = "guestagent";

pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(pid_file), Some(name), Some(program)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return ExitCode::from(2);
    };
    let name = name.to_string_lossy();
    if let Some(pid) = running(Path::new(&pid_file), &name) {
        match adopt(pid) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => {
                kernel_log::warning(&format!(
                    "cannot hand {name} (process {pid}) over to systemd: {error}"
                ));
                return ExitCode::FAILURE;
            }
        }
    }
    let error = Command::new(&program).args(arguments).exec();
    kernel_log::warning(&format!("cannot execute {}: {error}", program.display()));
    ExitCode::FAILURE
}

/// `guestagent agent --detach`: starts the agent and exits once the PID file names it, as `Type=forking` requires.
pub(crate) fn detach() -> ExitCode {
    let agent = Command::new(PROGRAM)
        .arg("agent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let pid = match agent {
        Ok(child) => child.id(),
        Err(error) => {
            kernel_log::warning(&format!("cannot start {PROGRAM}: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let deadline = Instant::now() + DETACH_LIMIT;
    while Instant::now() < deadline {
        if running(Path::new(AGENT_PID_FILE), AGENT_NAME) == Some(pid) {
            return ExitCode::SUCCESS;
        }
        std::thread::park_timeout(DETACH_POLL);
    }
    kernel_log::warning("the agent did not write its PID file");
    ExitCode::FAILURE
}

/// Returns the running process that a PID file names, if it is the expected program. `/run` is new at each boot and only
/// root writes to it, so the PID is of this boot; comparing the name detects a reused PID.
pub(crate) fn running(pid_file: &Path, name: &str) -> Option<u32> {
    let pid: u32 = files::text(pid_file).trim().parse().ok()?;
    (pid > 1 && files::text(format!("/proc/{pid}/comm")).trim() == name).then_some(pid)
}

/// Moves a process into the control group of this process (cgroups(7), version 2).
fn adopt(pid: u32) -> std::io::Result<()> {
    let own = files::text("/proc/self/cgroup");
    let group = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or_else(|| std::io::Error::other("no cgroup v2 hierarchy"))?;
    fs::write(
        format!("/sys/fs/cgroup{group}/cgroup.procs"),
        pid.to_string(),
    )
}
