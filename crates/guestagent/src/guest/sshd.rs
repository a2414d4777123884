//! Starts sshd before systemd does, and waits until it listens.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{RUN_DIR, handover};

/// The file that sshd writes when it listens (`PidFile` in sshd_config(5)).
pub(crate) const PID_FILE: &str = "/run/sshd.pid";
/// How long sshd may take until it listens. An emulated guest on a busy host needs a second or two.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Starts sshd unless it runs already, and returns when it listens.
///
/// # Errors
/// sshd exited at once, or does not listen within the limit.
pub(crate) fn start() -> io::Result<()> {
    if handover::running(Path::new(PID_FILE), "sshd").is_some() {
        return Ok(());
    }
    // The folder of privilege separation, which ssh.service makes otherwise.
    fs::create_dir_all("/run/sshd")?;
    let socket_path = Path::new(RUN_DIR).join("sshd.notify");
    let _ = fs::remove_file(&socket_path);
    // Debian's sshd sends READY=1 by sd_notify(3) once it listens. So the port needs no polling, which would fork an sshd
    // for each attempt.
    let socket = UnixDatagram::bind(&socket_path)?;
    // Without -D sshd detaches and becomes a child of PID 1, which can then supervise it.
    let status = Command::new("/usr/sbin/sshd")
        .env("NOTIFY_SOCKET", &socket_path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "sshd exited with {status}; run `sshd -t` in the guest for the reason"
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
