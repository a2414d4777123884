//! Starts sshd before systemd does, and knows when it listens.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{RUN_DIR, handover};

/// sshd writes it when it listens (`PidFile` in sshd_config(5)).
pub(crate) const PID_FILE: &str = "/run/sshd.pid";
/// An emulated guest on a busy host needs a second or two.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Starts sshd unless it runs, and returns when it listens.
///
/// # Errors
/// sshd ended at once, or did not listen within the limit.
pub(crate) fn start() -> io::Result<()> {
    if handover::running(Path::new(PID_FILE), "sshd").is_some() {
        return Ok(());
    }
    // Privilege separation's folder; ssh.service makes it otherwise.
    fs::create_dir_all("/run/sshd")?;
    let socket_path = Path::new(RUN_DIR).join("sshd.notify");
    let _ = fs::remove_file(&socket_path);
    // Debian's sshd speaks sd_notify(3): READY=1 once it listens. Nothing has to try the port, which would fork.
    let socket = UnixDatagram::bind(&socket_path)?;
    // Without -D it detaches and becomes a child of PID 1, which then is able to supervise it.
    let status = Command::new("/usr/sbin/sshd")
        .env("NOTIFY_SOCKET", &socket_path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "sshd ended with {status}; `sshd -t` says why"
        )));
    }
    let deadline = Instant::now() + READY_LIMIT;
    let mut message = [0_u8; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("sshd did not listen within {READY_LIMIT:?}"),
            ));
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut message) {
            Ok(length)
                if message[..length]
                    .split(|b| *b == b'\n')
                    .any(|line| line == b"READY=1") =>
            {
                break;
            }
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
    let _ = fs::remove_file(&socket_path);
    Ok(())
}
