//! A bystander on Unix.

use std::path::Path;
use std::time::Duration;

use process::spawn::{Child, Spawn};

use crate::poll;

/// Notes each signal that can be caught and goes on; waits in `sleep` processes that end when it does.
const SCRIPT: &str = r#"
for signal in HUP INT QUIT USR1 USR2 TERM; do
    trap "echo $signal >> '$0/signals'" $signal
done
echo > "$0/ready"
while :; do sleep 1000 & wait $!; kill $! 2>/dev/null; done
"#;

/// How long a shell may take to set its traps on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A bystander waits for nothing of ours.
pub(crate) type Held = ();

/// Starts one and waits until it notes signals.
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
