//! Orderly shutdown, and the power button until logind listens to it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{files, kernel_log};

/// How long a shutdown waits for systemd, which may not be up yet. The host has its own limit, after which it ends QEMU.
const LIMIT: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(300);

/// `struct input_event` on 64-bit machines (linux/input.h): a time of 16 bytes, type, code, value.
const EVENT_SIZE: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// Asks systemd for `poweroff` or `reboot`. Retries until systemd is up.
///
/// # Errors
/// systemd has not accepted the request within the limit.
pub(crate) fn request(verb: &str) -> io::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let output = Command::new("/bin/systemctl")
            .args(["--no-block", verb])
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "systemctl {verb} ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        std::thread::park_timeout(RETRY);
    }
}

/// Shuts down when the power button is pressed before logind listens to it. Returns when the button disappears.
pub(crate) fn watch_button() {
    let Some(mut button) = open_button() else {
        kernel_log::warning("there is no power button; a shutdown by the host waits for logind");
        return;
    };
    let mut event = [0_u8; EVENT_SIZE];
    while button.read_exact(&mut event).is_ok() {
        let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        let pressed = number(16) == EV_KEY && number(18) == KEY_POWER && event[20] == 1;
        if pressed && !logind_runs() {
            kernel_log::info("the power button was pressed");
            if let Err(error) = request("poweroff") {
                kernel_log::warning(&format!("cannot power off: {error}"));
            }
        }
    }
}

/// Whether logind runs. It then handles the button, by its own settings.
fn logind_runs() -> bool {
    let words = ["--quiet", "is-active", "systemd-logind.service"];
    let status = Command::new("/bin/systemctl")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn open_button() -> Option<File> {
    fs::read_dir("/sys/class/input")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let name = entry
                .file_name()
                .into_string()
                .ok()
                .filter(|name| name.starts_with("event"))?;
            let is_button = files::text(entry.path().join("device/name")).trim() == "Power Button";
            is_button.then(|| File::open(Path::new("/dev/input").join(name)).ok())?
        })
}
