//! cloud-init's files. YAML is written by the serializer, so that no value can end its string early.

use std::collections::BTreeMap;

use serde::Serialize;

use super::boot_script::{LAUNCHER, LAUNCHER_PATH};
use super::env;
use super::facts::{CidataError, Facts};
use crate::template::ProvisionMode;

#[derive(Serialize)]
struct UserData<'a> {
    growpart: GrowPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    hostname: &'a str,
    users: [User<'a>; 1],
    write_files: [WriteFile; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bootcmd: Vec<String>,
}

#[derive(Serialize)]
struct GrowPart {
    mode: &'static str,
    devices: [&'static str; 1],
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    uid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    gecos: &'a str,
    homedir: &'a str,
    shell: &'a str,
    sudo: &'static str,
    lock_passwd: bool,
    ssh_authorized_keys: Vec<&'a str>,
}

#[derive(Serialize)]
struct WriteFile {
    path: &'static str,
    owner: &'static str,
    permissions: &'static str,
    content: &'static str,
}

pub(super) fn user_data(facts: &Facts) -> Result<String, CidataError> {
    let boot = facts
        .scripts
        .iter()
        .filter(|script| script.mode == ProvisionMode::Boot);
    let data = UserData {
        growpart: GrowPart {
            mode: "auto",
            devices: ["/"],
        },
        timezone: facts.timezone.as_deref().filter(|zone| !zone.is_empty()),
        hostname: &facts.hostname,
        users: [User {
            name: &facts.user,
            uid: facts.uid,
            gecos: &facts.comment,
            homedir: &facts.home,
            shell: &facts.shell,
            sudo: "ALL=(ALL) NOPASSWD:ALL",
            lock_passwd: true,
            ssh_authorized_keys: facts.authorized_keys.iter().map(|key| key.trim()).collect(),
        }],
        write_files: [WriteFile {
            path: LAUNCHER_PATH,
            owner: "root:root",
            permissions: "0755",
            content: LAUNCHER,
        }],
        bootcmd: boot
            .map(|script| boot_command(facts, &script.text))
            .collect::<Result<_, _>>()?,
    };
    Ok(format!("#cloud-config\n{}", yaml("user-data", &data)?))
}

/// cloud-init gives the text to sh. The parameters stand in it, as the disk is not mounted so early.
fn boot_command(facts: &Facts, script: &str) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.params {
        env::one_line(name, value)?;
        out.push_str(&format!("export PARAM_{name}={}\n", shell_quoted(value)));
    }
    out.push_str(script);
    Ok(out)
}

/// In single quotes nothing is special to sh but the quote itself.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetaData<'a> {
    instance_id: &'a str,
    local_hostname: &'a str,
}

pub(super) fn meta_data(facts: &Facts, instance_id: &str) -> Result<String, CidataError> {
    env::one_line("the instance id", instance_id)?;
    yaml(
        "meta-data",
        &MetaData {
            instance_id,
            local_hostname: &facts.hostname,
        },
    )
}

#[derive(Serialize)]
struct NetworkConfig<'a> {
    version: u32,
    ethernets: BTreeMap<&'static str, Ethernet<'a>>,
}

#[derive(Serialize)]
struct Ethernet<'a> {
    r#match: Match<'a>,
    dhcp4: bool,
    #[serde(rename = "dhcp-identifier")]
    dhcp_identifier: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Match<'a> {
    MacAddress(&'a str),
    Name(&'static str),
}

pub(super) fn network_config(facts: &Facts) -> Result<String, CidataError> {
    let card = Ethernet {
        r#match: facts
            .mac
            .as_deref()
            .map_or(Match::Name("e*"), Match::MacAddress),
        dhcp4: true,
        dhcp_identifier: "mac",
    };
    yaml(
        "network-config",
        &NetworkConfig {
            version: 2,
            ethernets: BTreeMap::from([("eth0", card)]),
        },
    )
}

fn yaml<T: Serialize>(what: &'static str, value: &T) -> Result<String, CidataError> {
    crate::yaml::to_string(value).map_err(|source| CidataError::Yaml { what, source })
}
