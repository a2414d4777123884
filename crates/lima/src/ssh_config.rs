//! `ssh.config` of an instance: `ssh -F FILE lima-NAME` logs in.
//!
//! The settings are Lima's (`pkg/sshutil`): the host key is not checked, as each guest makes its own and the
//! connection does not leave this machine.

use std::path::{Path, PathBuf};

/// What stands in the file.
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
    /// The socket that connections share.
    pub control_path: PathBuf,
    /// Whether the host's ssh agent goes along.
    pub forward_agent: bool,
}

/// A value that ssh's configuration cannot say.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// ssh would read it as something else.
    #[error(
        "cannot write {value:?} into an ssh configuration: it holds {what}; move the folder to a path without"
    )]
    Unsayable {
        /// The value.
        value: String,
        /// What ssh would make of it.
        what: &'static str,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

impl Settings {
    /// The file's text.
    ///
    /// # Errors
    /// [`SshConfigError::Unsayable`].
    pub fn render(&self) -> Result<String, SshConfigError> {
        let identity = quoted(&self.identity)?;
        let control = quoted(&self.control_path)?;
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
             \x20 StrictHostKeyChecking no\n\
             \x20 UserKnownHostsFile /dev/null\n\
             \x20 NoHostAuthenticationForLocalhost yes\n\
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

    /// Writes the file, whole or not at all.
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

/// A path in double quotes. ssh expands `%` in both places that we write paths to; a backslash keeps a quote.
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
