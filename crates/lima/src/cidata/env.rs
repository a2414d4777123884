//! Files of variables.

use super::facts::{CidataError, Facts};
use super::hosts;
use crate::template::ProvisionMode;

/// Appends `KEY=VALUE` without quotes: Lima's `boot.sh` reads lines with `read -r` and exports them, so a quote would become
/// a part of the value.
pub(super) fn plain_line(out: &mut String, key: &str, value: &str) -> Result<(), CidataError> {
    one_line(key, value)?;
    out.push_str(key);
    out.push('=');
    out.push_str(value);
    out.push('\n');
    Ok(())
}

/// Appends a line of `/etc/environment`. pam_env removes one pair of quotes and changes nothing inside, so quotes in the
/// value stay as they are.
fn quoted_line(out: &mut String, key: &str, value: &str) -> Result<(), CidataError> {
    one_line(key, value)?;
    let plain = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&b));
    out.push_str(key);
    out.push('=');
    if plain {
        out.push_str(value);
    } else {
        out.push('"');
        out.push_str(value);
        out.push('"');
    }
    out.push('\n');
    Ok(())
}

pub(super) fn one_line(field: &str, value: &str) -> Result<(), CidataError> {
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some(found) => Err(CidataError::Control {
            field: field.to_owned(),
            found,
        }),
        None => Ok(()),
    }
}

/// Returns `lima.env`. The names are Lima's, for scripts that were written for Lima, and two more for the agent.
pub(super) fn lima_env(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    let uid = facts.uid.to_string();
    let network = &facts.network;
    let servers: Vec<String> = facts.name_servers.iter().map(ToString::to_string).collect();
    let skip = facts
        .scripts
        .iter()
        .any(|script| script.mode == ProvisionMode::Dependency);
    for (key, value) in [
        ("DEBUG", ""),
        ("NAME", &facts.name),
        ("USER", &facts.user),
        ("UID", &uid),
        ("COMMENT", &facts.comment),
        ("HOME", &facts.home),
        ("SHELL", &facts.shell),
        ("HOSTHOME_MOUNTPOINT", ""),
        ("MOUNTS", "0"),
        ("MOUNTTYPE", ""),
        ("DISKS", "0"),
        ("GUEST_INSTALL_PREFIX", "/usr/local"),
        ("CONTAINERD_USER", ""),
        ("CONTAINERD_SYSTEM", ""),
        ("SLIRP_DNS", &network.dns.to_string()),
        ("SLIRP_GATEWAY", &network.gateway.to_string()),
        ("SLIRP_IP_ADDRESS", &network.address.to_string()),
        ("UDP_DNS_LOCAL_PORT", "0"),
        ("TCP_DNS_LOCAL_PORT", "0"),
        ("ROSETTA_ENABLED", "false"),
        ("ROSETTA_BINFMT", "false"),
        (
            "SKIP_DEFAULT_DEPENDENCY_RESOLUTION",
            if skip { "1" } else { "" },
        ),
        ("VMTYPE", "qemu"),
        ("VSOCK_PORT", "0"),
        ("VIRTIO_PORT", ""),
        ("PLAIN", if facts.plain { "1" } else { "" }),
        ("TIMEZONE", facts.timezone.as_deref().unwrap_or_default()),
        ("DNS_ADDRESSES", &servers.join(",")),
    ] {
        plain_line(&mut out, &format!("LIMA_CIDATA_{key}"), value)?;
    }
    for script in &facts.scripts {
        let Some(file) = &script.file else { continue };
        let overwrite = file.overwrite.to_string();
        for (property, value) in [
            ("PATH", &file.path),
            ("OWNER", &file.owner),
            ("PERMISSIONS", &file.permissions),
            ("OVERWRITE", &overwrite),
        ] {
            let key = format!("LIMA_CIDATA_DATAFILE_{:08}_{property}", script.index);
            plain_line(&mut out, &key, value)?;
        }
    }
    Ok(out)
}

/// Returns `param.env`.
pub(super) fn param_env(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.params {
        plain_line(&mut out, &format!("PARAM_{name}"), value)?;
    }
    Ok(out)
}

/// Returns `etc_environment`.
pub(super) fn etc_environment(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.env {
        quoted_line(&mut out, name, value)?;
    }
    Ok(out)
}

/// Returns `etc_hosts`. A plain guest keeps its file as it is.
pub(super) fn etc_hosts(facts: &Facts) -> String {
    if facts.plain {
        return String::new();
    }
    hosts::lines(&facts.hosts, facts.network.gateway)
        .into_iter()
        .map(|line| line + "\n")
        .collect()
}

/// Returns `ssh_authorized_keys`.
pub(super) fn authorized_keys(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    for key in &facts.authorized_keys {
        let key = key.trim();
        one_line("an authorized key", key)?;
        out.push_str(key);
        out.push('\n');
    }
    Ok(out)
}

/// Returns the folder for scripts of a mode.
pub(super) fn script_folder(mode: ProvisionMode) -> String {
    format!("provision.{mode}")
}
