//! The facts that the disk gives to a guest.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::{files, iso, proxy};
use crate::layout::InstanceDir;
use crate::template::{Provision, ProvisionMode, Template};

/// The disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CidataError {
    /// The template has no defaults filled in.
    #[error("cannot make the cidata disk: {0} is not set; fill in the template's defaults first")]
    Unset(&'static str),
    /// A value contains a line break or another control character, which the file cannot express.
    #[error(
        "cannot make the cidata disk: {field} must be one line of text, and it contains {found:?}"
    )]
    Control {
        /// The value's field.
        field: String,
        /// The control character.
        found: char,
    },
    /// YAML has no form for a value.
    #[error("cannot make the cidata disk: {what}: {source}")]
    Yaml {
        /// The file.
        what: &'static str,
        /// The serializer's error.
        source: serde_saphyr::SerializeError,
    },
    /// The image cannot be laid out.
    #[error("cannot make the cidata disk: {0}")]
    Iso(String),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

/// A provision script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The index in `provision`.
    pub index: usize,
    /// Boot, dependency, system or user; or data for the content of a file.
    pub mode: ProvisionMode,
    /// The text of the script.
    pub text: String,
    /// The properties of the file, with mode data.
    pub file: Option<DataFile>,
}

/// The properties of a file of mode `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The absolute path in the guest.
    pub path: String,
    /// The owner, as chown takes it.
    pub owner: String,
    /// The mode in octal digits.
    pub permissions: String,
    /// Whether an existing file is replaced.
    pub overwrite: bool,
}

/// The guest's address on the driver's user-mode network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestNetwork {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The host's address.
    pub gateway: Ipv4Addr,
    /// The address of the driver's name server.
    pub dns: Ipv4Addr,
}

impl Default for GuestNetwork {
    /// The addresses of QEMU's user network by default.
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(10, 0, 2, 15),
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
        }
    }
}

/// The host, as far as guests take something from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The environment variables; only proxy variables are used.
    pub variables: BTreeMap<String, String>,
    /// The home folder of the user, with `.ssh`.
    pub home: PathBuf,
}

/// The facts that the disk gives to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The instance's name.
    pub name: String,
    /// The guest's host name.
    pub hostname: String,
    /// The login name.
    pub user: String,
    /// The user id.
    pub uid: u32,
    /// The user's full name.
    pub comment: String,
    /// The user's home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// The keys that may log in, an `authorized_keys` line each.
    pub authorized_keys: Vec<String>,
    /// The variables of all sessions, for `/etc/environment`.
    pub env: BTreeMap<String, String>,
    /// The parameters; scripts see them as `PARAM_name`.
    pub params: BTreeMap<String, String>,
    /// The scripts, in order.
    pub scripts: Vec<Script>,
    /// The time zone.
    pub timezone: Option<String>,
    /// Names with an address or another name each, for `/etc/hosts`.
    pub hosts: BTreeMap<String, String>,
    /// Name servers in the place of the driver's.
    pub name_servers: Vec<IpAddr>,
    /// Whether the guest keeps its `/etc/hosts` as it is.
    pub plain: bool,
    /// The addresses of the network.
    pub network: GuestNetwork,
    /// The MAC address of the network's card; any Ethernet card by default.
    pub mac: Option<String>,
    /// cloud-init sets the guest up again when the id changes. `None` computes it from the other facts, so that it changes with
    /// them.
    pub instance_id: Option<String>,
}

impl Facts {
    /// Returns the facts of an instance from its template, which has its defaults filled in.
    ///
    /// # Errors
    /// [`CidataError::Unset`] if it has not.
    pub fn new(
        dir: &InstanceDir,
        template: &Template,
        authorized_keys: Vec<String>,
    ) -> Result<Self, CidataError> {
        let user = &template.user;
        let text = |value: &Option<String>, field| value.clone().ok_or(CidataError::Unset(field));
        let scripts = template
            .provision
            .iter()
            .enumerate()
            .filter_map(|(index, step)| script(index, step));
        Ok(Self {
            name: dir.name().to_owned(),
            hostname: dir.hostname(),
            user: text(&user.name, "user.name")?,
            uid: user.uid.ok_or(CidataError::Unset("user.uid"))?,
            comment: user.comment.clone().unwrap_or_default(),
            home: text(&user.home, "user.home")?,
            shell: text(&user.shell, "user.shell")?,
            authorized_keys,
            env: template.env.clone(),
            params: template.param.clone(),
            scripts: scripts.collect(),
            timezone: template.timezone.clone(),
            hosts: template.host_resolver.hosts.clone(),
            name_servers: template.dns.clone(),
            plain: template.plain == Some(true),
            network: GuestNetwork::default(),
            mac: None,
            instance_id: None,
        })
    }

    /// Adds what the template takes from the host: its proxy variables, unless `propagateProxyEnv` is false, and the public
    /// keys of its user, if `ssh.loadDotSSHPubKeys` is true.
    #[must_use]
    pub fn with_host(mut self, template: &Template, host: &HostFacts) -> Self {
        if template.propagate_proxy_env != Some(false) {
            proxy::propagate(&mut self.env, &host.variables, self.network.gateway);
        }
        if template.ssh.load_dot_ssh_pub_keys == Some(true) {
            let found = crate::keys::public_keys_of(&host.home);
            let new: Vec<String> = found
                .into_iter()
                .filter(|key| !self.authorized_keys.contains(key))
                .collect();
            self.authorized_keys.extend(new);
        }
        self
    }

    /// Returns the disk as bytes.
    ///
    /// # Errors
    /// [`CidataError`] with the value that cannot be written.
    pub fn to_iso(&self) -> Result<Vec<u8>, CidataError> {
        iso::image(&files::all(self)?)
    }

    /// Writes the disk, whole or not at all.
    ///
    /// # Errors
    /// [`CidataError`] with the value or the file that cannot be written.
    pub fn write_iso(&self, path: &Path) -> Result<(), CidataError> {
        Ok(process::file::write_atomic(path, &self.to_iso()?, 0o600)?)
    }
}

/// Returns what the guest runs or writes for a step; `None` for the modes that have no effect.
fn script(index: usize, step: &Provision) -> Option<Script> {
    let mode = step.mode.unwrap_or(ProvisionMode::System);
    if mode == ProvisionMode::Data {
        return Some(Script {
            index,
            mode,
            text: step.content.clone()?,
            file: Some(DataFile {
                path: step.path.clone()?,
                owner: step.owner.clone().unwrap_or_else(|| "root:root".to_owned()),
                permissions: step.permissions.clone().unwrap_or_else(|| "644".to_owned()),
                overwrite: step.overwrite != Some(false),
            }),
        });
    }
    let text = step.script.as_ref().filter(|_| mode.runs())?;
    Some(Script {
        index,
        mode,
        text: with_unix_line_ends(text),
        file: None,
    })
}

/// Scripts written on Windows have line ends that an interpreter's name must not have: `#!/bin/sh\r` does not exist.
fn with_unix_line_ends(script: &str) -> String {
    let first = script.lines().next().unwrap_or_default();
    let has_windows_ends = script[first.len()..].starts_with("\r\n");
    if has_windows_ends {
        script.replace("\r\n", "\n")
    } else {
        script.to_owned()
    }
}
