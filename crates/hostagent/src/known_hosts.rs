//! The ssh host keys of one VM: `known_hosts` in the instance folder, which `ssh.config` names.
//!
//! A VM's port belongs to another program once the VM is stopped, so a client that does not check the host key can send
//! its commands and passwords to that program. Keys that the guest agent reports are pinned before the first login. A
//! guest without our agent is trusted on its first login, while its port is QEMU's, and from then on held to that key.

use std::io;
use std::path::PathBuf;

use lima::layout::InstanceDir;
use lima::ssh_config;
use process::file::write_atomic;

/// Keys taken from an agent: sshd has one for each of four algorithms.
const KEYS: usize = 16;
/// The longest key: RSA with 16,384 bits has 2,800 characters.
const KEY_LENGTH: usize = 8 * 1024;

/// The pinned keys of one VM.
#[derive(Debug)]
pub(crate) struct KnownHosts {
    path: PathBuf,
    config: PathBuf,
    host: String,
}

impl KnownHosts {
    /// The keys of the VM in `dir`, which `ssh.config` calls `host`.
    pub(crate) fn of(dir: &InstanceDir, host: String) -> KnownHosts {
        KnownHosts {
            path: ssh_config::known_hosts(dir),
            config: dir.ssh_config(),
            host,
        }
    }

    /// Returns whether any key is known, so that a login can be checked.
    pub(crate) fn any(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Replaces the known keys by `keys`, as the guest's agent reports them, and refuses all others from now on.
    ///
    /// # Errors
    /// A file cannot be written, or a key is malformed.
    pub(crate) fn pin(&self, keys: &[String]) -> io::Result<()> {
        let mut text = String::new();
        for key in keys.iter().take(KEYS) {
            let (kind, body) = parts(key).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the guest agent reported a malformed key",
                )
            })?;
            text.push_str(&format!("{} {kind} {body}\n", self.host));
        }
        if std::fs::read_to_string(&self.path).is_ok_and(|known| known == text) {
            return self.require();
        }
        write_atomic(&self.path, text.as_bytes(), 0o600).map_err(io::Error::other)?;
        self.require()
    }

    /// Makes `ssh.config` refuse keys that are not known; no-op while no key is known.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn require(&self) -> io::Result<()> {
        if self.any() {
            ssh_config::require_known_key(&self.config).map_err(io::Error::other)
        } else {
            Ok(())
        }
    }
}

/// The algorithm and the key of `ssh-ed25519 AAAA… comment`. The guest chooses the text, so anything that
/// `known_hosts` could take for another line, a pattern or a marker is rejected.
fn parts(key: &str) -> Option<(&str, &str)> {
    if key.len() > KEY_LENGTH || key.contains(['\n', '\r', '\0']) {
        return None;
    }
    let mut words = key.split_ascii_whitespace();
    let (kind, body) = (words.next()?, words.next()?);
    let is_kind = kind
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-@.".contains(&b))
        && kind.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_body = body
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    (is_kind && is_body).then_some((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_keys_replace_the_known_ones_and_are_required() {
        let folder = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(folder.path(), "vm");
        let settings = ssh_config::Settings {
            host: "lima-vm".into(),
            user: "dev".into(),
            port: 1,
            identity: folder.path().join("k"),
            control_path: folder.path().join("s"),
            known_hosts: ssh_config::known_hosts(&dir),
            require_known_key: false,
            forward_agent: false,
        };
        settings.write(&dir.ssh_config()).unwrap();
        let known = KnownHosts::of(&dir, "lima-vm".into());
        let config = || std::fs::read_to_string(dir.ssh_config()).unwrap();
        known.require().unwrap();
        assert!(config().contains("StrictHostKeyChecking accept-new"));
        for key in ["ssh-ed25519 AAAA+/= root@guest", "ssh-ed25519 BBBB"] {
            known.pin(&[key.into(), "ssh-rsa CCCC".into()]).unwrap();
            let body = key.split(' ').nth(1).unwrap();
            assert_eq!(
                std::fs::read_to_string(&known.path).unwrap(),
                format!("lima-vm ssh-ed25519 {body}\nlima-vm ssh-rsa CCCC\n")
            );
            assert!(config().contains("StrictHostKeyChecking yes"));
        }
    }

    #[test]
    fn malformed_keys_are_rejected() {
        for key in [
            "",
            "ssh-rsa",
            "@cert-authority * ssh-rsa",
            "* AAAA",
            "ssh-rsa AAAA\n* ssh-rsa BBBB",
            "ssh-rsa AA,AA",
            &format!("ssh-rsa {}", "A".repeat(KEY_LENGTH)),
        ] {
            assert_eq!(parts(key), None, "{key:?}");
        }
    }
}
