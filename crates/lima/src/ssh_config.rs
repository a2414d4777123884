//! `ssh.config` of an instance: `ssh -F FILE lima-NAME` logs in.
//!
//! The settings are Lima's (`pkg/sshutil`), except that the guest's host key is checked against the instance's
//! `known_hosts`: once a VM is stopped, any program of this machine can listen on the port that was its own.

use std::path::{Path, PathBuf};

use crate::layout::InstanceDir;

/// The setting for a guest whose keys are not known yet: ssh trusts the first key that it sees, and refuses another one.
const ACCEPT_NEW: &str = "StrictHostKeyChecking accept-new";
/// The setting for a guest whose keys are known.
const REQUIRE: &str = "StrictHostKeyChecking yes";

/// The settings of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `lima-NAME`.
    pub host: String,
    /// The user of the guest.
    pub user: String,
    /// The forwarded port on 127.0.0.1.
    pub port: u16,
    /// The private key.
    pub identity: PathBuf,
    /// The socket of the shared connection.
    pub control_path: PathBuf,
    /// The file with the guest's host keys ([`known_hosts`]).
    pub known_hosts: PathBuf,
    /// Refuse every host key that is not in `known_hosts`, also while that file is empty.
    pub require_known_key: bool,
    /// Whether the host's ssh agent is forwarded to the guest.
    pub forward_agent: bool,
}

/// Why `ssh.config` could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// ssh would misread a value.
    #[error(
        "cannot write {value:?} into an ssh configuration: it contains {what}; move the folder to a path without it"
    )]
    Unsayable {
        /// The value.
        value: String,
        /// What in the value ssh would misread.
        what: &'static str,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

impl Settings {
    /// Returns the text of the file.
    ///
    /// # Errors
    /// [`SshConfigError::Unsayable`].
    pub fn render(&self) -> Result<String, SshConfigError> {
        let identity = quoted(&self.identity)?;
        let control = quoted(&self.control_path)?;
        let known_hosts = quoted(&self.known_hosts)?;
        let checking = if self.require_known_key {
            REQUIRE
        } else {
            ACCEPT_NEW
        };
        for word in [&self.host, &self.user] {
            let plain = !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if !plain {
                let what = "a character that separates words or has a meaning of its own";
                return Err(SshConfigError::Unsayable {
                    value: word.clone(),
                    what,
                });
            }
        }
        let forward = if self.forward_agent { "yes" } else { "no" };
        Ok(format!(
            "# Written by rdd at each start. Use it with: ssh -F THIS-FILE {host}\n\
             Host {host}\n\
             \x20 IdentityFile {identity}\n\
             \x20 IdentitiesOnly yes\n\
             \x20 {checking}\n\
             \x20 UserKnownHostsFile {known_hosts}\n\
             \x20 GlobalKnownHostsFile none\n\
             \x20 HostKeyAlias {host}\n\
             \x20 CheckHostIP no\n\
             \x20 UpdateHostKeys no\n\
             \x20 PreferredAuthentications publickey\n\
             \x20 Compression no\n\
             \x20 BatchMode yes\n\
             \x20 LogLevel ERROR\n\
             \x20 ForwardAgent {forward}\n\
             \x20 User {user}\n\
             \x20 ControlMaster auto\n\
             \x20 ControlPath {control}\n\
             \x20 ControlPersist yes\n\
             \x20 Hostname 127.0.0.1\n\
             \x20 Port {port}\n",
            host = self.host,
            user = self.user,
            port = self.port,
        ))
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// As [`Settings::render`], or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), SshConfigError> {
        Ok(process::file::write_atomic(
            path,
            self.render()?.as_bytes(),
            0o600,
        )?)
    }
}

/// The file with the host keys of the guest in `dir`, in the format of `known_hosts`.
#[must_use]
pub fn known_hosts(dir: &InstanceDir) -> PathBuf {
    dir.path().join("known_hosts")
}

/// Changes an existing `ssh.config` so that ssh refuses every host key that is not in `known_hosts`. No-op if it does so
/// already, or if there is no such file.
///
/// # Errors
/// The file cannot be read or written.
pub fn require_known_key(path: &Path) -> Result<(), SshConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SshConfigError::File(process::file::FileError {
                action: "read",
                path: path.to_owned(),
                source,
            }));
        }
    };
    if text.contains(ACCEPT_NEW) {
        let text = text.replace(ACCEPT_NEW, REQUIRE);
        process::file::write_atomic(path, text.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Returns a path in double quotes. ssh expands `%` in all paths of this file; a backslash escapes a quote.
fn quoted(path: &Path) -> Result<String, SshConfigError> {
    let unsayable = |what| SshConfigError::Unsayable {
        value: path.to_string_lossy().into_owned(),
        what,
    };
    let text = path
        .to_str()
        .ok_or_else(|| unsayable("bytes that are not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(unsayable("a control character"));
    }
    if text.contains("${") {
        return Err(unsayable("${, which ssh replaces by a variable"));
    }
    if !path.is_absolute() {
        return Err(unsayable(
            "no leading /, so that it depends on the folder that ssh is called in",
        ));
    }
    Ok(format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('%', "%%")
    ))
}
