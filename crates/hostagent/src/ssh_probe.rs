//! Whether the user can log in: one real `ssh … true`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use process::command::{CommandError, Run};

/// How long one login may take: a second under emulation, more while the guest boots or is busy.
pub(crate) const FIRST_LOGIN: Duration = Duration::from_secs(30);
/// How long it may take in a guest where it worked before. A login that hangs says so sooner.
pub(crate) const LATER_LOGIN: Duration = Duration::from_secs(15);
/// `true` prints nothing; a login banner is a few lines.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// How a VM is logged in to.
#[derive(Debug, Clone)]
pub(crate) struct SshProbe {
    pub(crate) config: PathBuf,
    pub(crate) host: String,
    pub(crate) search_path: OsString,
}

impl SshProbe {
    /// Logs in and out. The error says why that failed, in ssh's last words.
    pub(crate) async fn login(&self, limit: Duration) -> Result<(), String> {
        let connect_timeout = format!("ConnectTimeout={}", limit.as_secs());
        let result = Run::new("ssh", limit)
            .arg("-F")
            .arg(&self.config)
            // Its own connection: a shared one would answer for a guest whose sshd is gone, or outlive the probe.
            .args([
                "-o",
                "ControlMaster=no",
                "-o",
                "ControlPath=none",
                "-o",
                "BatchMode=yes",
                "-o",
            ])
            .arg(connect_timeout)
            .args([self.host.as_str(), "true"])
            .env("PATH", &self.search_path)
            .limit(OUTPUT_LIMIT)
            .run_async()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(CommandError::TimedOut { .. }) => {
                Err(format!("ssh could not log in within {} s", limit.as_secs()))
            }
            Err(CommandError::Failed { stderr, status, .. }) => {
                let last = stderr
                    .lines()
                    .rev()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or_default();
                Err(format!("ssh could not log in ({status}): {last}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
