//! The Unix part: a bystander, command lines, the folders of an instance.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::spawn::{Child, Spawn};

use crate::poll;

/// Records each signal that can be caught and continues. It waits in `sleep` processes, which end with it.
const SCRIPT: &str = r#"
for signal in HUP INT QUIT USR1 USR2 TERM; do
    trap "echo $signal >> '$0/signals'" $signal
done
echo > "$0/ready"
while :; do sleep 1000 & wait $!; kill $! 2>/dev/null; done
"#;

/// How long a shell may take to set its traps on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A bystander needs nothing from this process.
pub(crate) type Held = ();

/// Starts a bystander and waits until it records signals.
pub(crate) fn bystander(folder: &Path) -> (Child, Held) {
    let child = Spawn::new("sh")
        .args(["-c", SCRIPT])
        .arg(folder)
        .spawn()
        .expect("a shell");
    poll(START, "a bystander's start", || {
        if folder.join("ready").exists() {
            Ok(())
        } else {
            Err("no traps yet")
        }
    });
    (child, ())
}

/// The command line of a process, for people; empty if it cannot be read.
pub(crate) fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// Where rdd keeps the data of an instance below the home folder.
pub(crate) fn data_dir(home: &Path, instance: &str) -> PathBuf {
    home.join(".local/share").join(instance)
}

/// Where rdd keeps the logs of an instance below the home folder.
pub(crate) fn log_dir(home: &Path, instance: &str) -> PathBuf {
    home.join(".local/state").join(instance)
}
