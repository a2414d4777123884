//! Files of variables, and what cannot be said in them.

use super::facts::{CidataError, Facts};
use crate::template::ProvisionMode;

/// `KEY=VALUE`, the value to the end of the line and as it is: Lima's `boot.sh` reads lines with `read -r` and exports
/// them, so a quote would be a part of the value.
pub(super) fn plain_line(out: &mut String, key: &str, value: &str) -> Result<(), CidataError> {
    one_line(key, value)?;
    out.push_str(key);
    out.push('=');
    out.push_str(value);
    out.push('\n');
    Ok(())
}

/// A line of `/etc/environment`. pam_env takes one pair of quotes off and nothing inside them, so that a quote within
/// stays as it is.
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

/// `lima.env`: Lima's names, so that scripts written for Lima find them.
pub(super) fn lima_env(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    let uid = facts.uid.to_string();
    let network = &facts.network;
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
        ("SKIP_DEFAULT_DEPENDENCY_RESOLUTION", ""),
        ("VMTYPE", "qemu"),
        ("VSOCK_PORT", "0"),
        ("VIRTIO_PORT", ""),
        ("PLAIN", "1"),
    ] {
        plain_line(&mut out, &format!("LIMA_CIDATA_{key}"), value)?;
    }
    Ok(out)
}

/// `param.env`.
pub(super) fn param_env(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.params {
        plain_line(&mut out, &format!("PARAM_{name}"), value)?;
    }
    Ok(out)
}

/// `etc_environment`.
pub(super) fn etc_environment(facts: &Facts) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.env {
        quoted_line(&mut out, name, value)?;
    }
    Ok(out)
}

/// `ssh_authorized_keys`.
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

/// The folder of a script's mode.
pub(super) fn script_folder(mode: ProvisionMode) -> String {
    format!("provision.{mode}")
}
