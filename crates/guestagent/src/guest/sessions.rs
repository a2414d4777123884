//! Login sessions while the system starts, and the user's own systemd.
//!
//! A login through `pam_systemd` waits for logind and starts a user manager, which takes two seconds of an emulated boot.
//! So while the system starts, the image's PAM profile skips `pam_systemd` for the user in `/run/rdd/booting`, and sshd sets
//! the variables that `pam_systemd` would have set. The user lingers, as in Lima's guests: the user manager starts at boot
//! by itself. Once it runs, the agent removes the file, and logins become sessions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{RUN_DIR, files};

/// How long to wait for the user manager. On a busy host systemd may need half a minute.
const USER_MANAGER_LIMIT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

/// Prepares logins before sshd starts.
///
/// # Errors
/// The root file system or `/run` cannot be written to.
pub(crate) fn prepare(user: &str, uid: u32) -> io::Result<()> {
    files::replace(&booting_file(), format!("{user}\n").as_bytes(), 0o644, None)?;
    fs::create_dir_all("/var/lib/systemd/linger")?;
    files::replace_if_different(
        &Path::new("/var/lib/systemd/linger").join(user),
        b"",
        0o644,
        None,
    )?;
    let text = format!(
        "# Written by guestagent.\nMatch User {user}\n    SetEnv XDG_RUNTIME_DIR=/run/user/{uid} \
         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus\n"
    );
    files::replace_if_different(
        Path::new("/etc/ssh/sshd_config.d/20-rdd-user.conf"),
        text.as_bytes(),
        0o644,
        None,
    )
}

/// Waits until the user manager runs, or for the limit. Then logins become sessions.
pub(crate) fn settle(uid: u32) {
    let deadline = Instant::now() + USER_MANAGER_LIMIT;
    let socket = PathBuf::from(format!("/run/user/{uid}/systemd/private"));
    while !socket.exists() && Instant::now() < deadline {
        std::thread::park_timeout(LOOK);
    }
    let _ = fs::remove_file(booting_file());
}

fn booting_file() -> PathBuf {
    Path::new(RUN_DIR).join("booting")
}
