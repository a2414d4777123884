//! Login sessions while the system starts, and the user's own systemd.
//!
//! A login through `pam_systemd` waits for logind and starts a user manager: two seconds of an emulated boot. So while
//! the system starts, the image's PAM profile leaves `pam_systemd` out for the user named in `/run/rdd/booting`, and
//! sshd sets the variables that it would have set. The user lingers (as in Lima's guests): the user manager starts at
//! boot by itself, and once it runs, the file goes and logins are sessions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{RUN_DIR, files};

/// A busy host may need half a minute for all of systemd.
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

/// Waits until the user manager runs, and lets logins become sessions from then on, or at the limit.
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
