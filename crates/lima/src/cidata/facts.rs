//! What a guest is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{files, iso};
use crate::layout::InstanceDir;
use crate::template::{ProvisionMode, Template};

/// The disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CidataError {
    /// The template's defaults were not filled in.
    #[error("cannot make the cidata disk: {0} is not set; fill in the template's defaults first")]
    Unset(&'static str),
    /// A value with a line break or another control character, where there is no way to write one.
    #[error(
        "cannot make the cidata disk: {field} must be one line of text, and it holds {found:?}"
    )]
    Control {
        /// Which value.
        field: String,
        /// The character.
        found: char,
    },
    /// A value that YAML has no form for.
    #[error("cannot make the cidata disk: {what}: {source}")]
    Yaml {
        /// Which file.
        what: &'static str,
        /// What the writer said.
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
    /// Boot, system or user.
    pub mode: ProvisionMode,
    /// Its text.
    pub text: String,
}

/// The guest's address on the driver's user-mode network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestNetwork {
    /// The guest.
    pub address: Ipv4Addr,
    /// The host.
    pub gateway: Ipv4Addr,
    /// The name server.
    pub dns: Ipv4Addr,
}

impl Default for GuestNetwork {
    /// QEMU's user network without settings.
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(10, 0, 2, 15),
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
        }
    }
}

/// What a guest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The instance's name.
    pub name: String,
    /// The guest's host name.
    pub hostname: String,
    /// The login name.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The user's full name.
    pub comment: String,
    /// The user's home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// Who may log in, an `authorized_keys` line each.
    pub authorized_keys: Vec<String>,
    /// For `/etc/environment`.
    pub env: BTreeMap<String, String>,
    /// For scripts, as `PARAM_name`.
    pub params: BTreeMap<String, String>,
    /// The scripts, in order.
    pub scripts: Vec<Script>,
    /// The time zone.
    pub timezone: Option<String>,
    /// The address.
    pub network: GuestNetwork,
    /// The card that the network is on; any Ethernet card when not said.
    pub mac: Option<String>,
    /// cloud-init sets the guest up anew when it changes. `None`: made from everything else here, so that it changes
    /// when something did.
    pub instance_id: Option<String>,
}

impl Facts {
    /// The facts of an instance, out of its template with defaults filled in.
    ///
    /// # Errors
    /// [`CidataError::Unset`] when they are not.
    pub fn new(
        dir: &InstanceDir,
        template: &Template,
        authorized_keys: Vec<String>,
    ) -> Result<Self, CidataError> {
        let user = &template.user;
        let text = |value: &Option<String>, field| value.clone().ok_or(CidataError::Unset(field));
        let scripts = template.provision.iter().filter_map(|step| {
            let mode = step.mode.unwrap_or(ProvisionMode::System);
            let runs = matches!(
                mode,
                ProvisionMode::Boot | ProvisionMode::System | ProvisionMode::User
            );
            step.script
                .clone()
                .filter(|_| runs)
                .map(|text| Script { mode, text })
        });
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
            network: GuestNetwork::default(),
            mac: None,
            instance_id: None,
        })
    }

    /// The disk as bytes.
    ///
    /// # Errors
    /// [`CidataError`] names the value that cannot be written.
    pub fn to_iso(&self) -> Result<Vec<u8>, CidataError> {
        iso::image(&files::all(self)?)
    }

    /// Writes the disk, whole or not at all.
    ///
    /// # Errors
    /// [`CidataError`] names the value or the file.
    pub fn write_iso(&self, path: &Path) -> Result<(), CidataError> {
        Ok(process::file::write_atomic(path, &self.to_iso()?, 0o600)?)
    }
}
