//! Whether the user can log in: one real `ssh … true`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use process::command::{CommandError, Run};
use process::spawn::SpawnError;

use crate::login_schedule::{LoginError, LoginErrorKind};

/// How long one login may take: a second under emulation, more while the guest boots or is busy.
pub(crate) const FIRST_LOGIN: Duration = Duration::from_secs(30);
/// How long a login may take in a guest where an earlier one worked, so that a hang is reported sooner.
pub(crate) const LATER_LOGIN: Duration = Duration::from_secs(15);
/// `true` prints nothing; a login banner is a few lines.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// How long the end of the shared connection may take: its process runs on this host.
const END_MASTER: Duration = Duration::from_secs(3);
/// What ssh prints if sshd closes the connection before authentication (`sshd_config(5)`, `MaxStartups`).
const TURNED_AWAY: [&str; 3] = [
    "kex_exchange_identification:",
    "Connection closed by",
    "Connection reset by",
];

/// How to log in to a VM.
#[derive(Debug, Clone)]
pub(crate) struct SshProbe {
    pub(crate) config: PathBuf,
    pub(crate) host: String,
    pub(crate) search_path: OsString,
    /// The socket of the shared connection.
    pub(crate) control_path: PathBuf,
}

impl SshProbe {
    /// Logs in and out. The error contains the last lines that ssh printed.
    pub(crate) async fn login(&self, limit: Duration) -> Result<(), LoginError> {
        let connect_timeout = format!("ConnectTimeout={}", limit.as_secs());
        let result = self
            .ssh(limit)
            // A connection of its own: a shared one would answer for a guest whose sshd is gone, or outlive the probe.
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
            .run_async()
            .await;
        let error = |kind, message| Err(LoginError { kind, message });
        match result {
            Ok(_) => Ok(()),
            Err(CommandError::TimedOut { .. }) => error(
                LoginErrorKind::Guest,
                format!("ssh could not log in within {} s", limit.as_secs()),
            ),
            Err(CommandError::Failed { stderr, status, .. }) => {
                let (kind, last) = explain(&stderr, &self.config);
                error(kind, format!("ssh could not log in ({status}): {last}"))
            }
            Err(CommandError::Spawn(SpawnError::NotFound { .. })) => error(
                LoginErrorKind::Host,
                "ssh is not installed: install the OpenSSH client (Debian, Ubuntu: openssh-client; Fedora: openssh-clients)"
                    .into(),
            ),
            Err(other) => error(LoginErrorKind::Host, other.to_string()),
        }
    }

    /// Ends the connection that the user's commands share, and removes its socket. Otherwise the connection survives the
    /// VM, and a program that listens on the VM's old port can take its place.
    pub(crate) async fn end_master(&self) {
        if !self.control_path.exists() {
            return;
        }
        let ended = self
            .ssh(END_MASTER)
            .args(["-O", "exit", self.host.as_str()])
            .run_async()
            .await;
        if let Err(error) = ended {
            tracing::debug!(%error, "no shared ssh connection was ended");
        }
        // A master that exits removes its socket; a master that was killed leaves it.
        if let Err(error) = process::file::remove_if_there(&self.control_path) {
            tracing::warn!(%error, "the socket of the shared ssh connection is left behind");
        }
    }

    fn ssh(&self, limit: Duration) -> Run {
        Run::new("ssh", limit)
            .arg("-F")
            .arg(&self.config)
            .env("PATH", &self.search_path)
            .limit(OUTPUT_LIMIT)
    }
}

/// What a failed login means, and what to tell the user.
fn explain(stderr: &str, config: &std::path::Path) -> (LoginErrorKind, String) {
    let last = stderr
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim();
    if last.contains("Host key verification failed") {
        let known = config.with_file_name("known_hosts");
        return (
            LoginErrorKind::Guest,
            format!(
                "the guest's ssh host key is not one of those in {}; if you changed it inside the guest, remove that file \
                 and restart the VM",
                known.display()
            ),
        );
    }
    let busy = TURNED_AWAY.iter().any(|text| last.contains(text));
    let kind = if busy {
        LoginErrorKind::Busy
    } else {
        LoginErrorKind::Guest
    };
    (kind, last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_messages_are_classified() {
        let config = std::path::Path::new("/vm/ssh.config");
        let known_hosts = config.with_file_name("known_hosts").display().to_string();
        for (stderr, kind, shown) in [
            (
                "banner\nkex_exchange_identification: Connection closed by remote host\n\n",
                LoginErrorKind::Busy,
                "kex_exchange_identification",
            ),
            (
                "Connection reset by 127.0.0.1 port 60022",
                LoginErrorKind::Busy,
                "Connection reset",
            ),
            (
                "dev@127.0.0.1: Permission denied (publickey).",
                LoginErrorKind::Guest,
                "Permission denied",
            ),
            (
                "No ED25519 host key is known\nHost key verification failed.",
                LoginErrorKind::Guest,
                &known_hosts,
            ),
            ("", LoginErrorKind::Guest, ""),
        ] {
            let (found, text) = explain(stderr, config);
            assert_eq!(found, kind, "{stderr}");
            assert!(text.contains(shown), "{text}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn missing_ssh_is_a_fault_of_this_host() {
        let folder = tempfile::tempdir().unwrap();
        let probe = SshProbe {
            config: folder.path().join("ssh.config"),
            host: "lima-vm".into(),
            search_path: folder.path().into(),
            control_path: folder.path().join("ssh.sock"),
        };
        let error = probe.login(LATER_LOGIN).await.unwrap_err();
        assert_eq!(error.kind, LoginErrorKind::Host);
        assert!(
            error.message.contains("install the OpenSSH client"),
            "{}",
            error.message
        );
    }
}
