//! The files of cloud-init. A serializer writes the YAML, so no value can end its string early.

use std::collections::BTreeMap;

use serde::Serialize;

use super::boot_script::{BEGIN, END, LAUNCHER, LAUNCHER_PATH};
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
    write_files: Vec<WriteFile>,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    append: bool,
    content: String,
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
        write_files: write_files(facts)?,
        bootcmd: std::iter::once(Ok(allow_login(facts)))
            .chain(boot.map(|script| boot_command(facts, &script.text)))
            .collect::<Result<_, _>>()?,
    };
    Ok(format!("#cloud-config\n{}", yaml("user-data", &data)?))
}

/// The files that cloud-init writes before sshd starts. `boot.sh` comes after that.
fn write_files(facts: &Facts) -> Result<Vec<WriteFile>, CidataError> {
    let file = |path, permissions, content| WriteFile {
        path,
        owner: "root:root",
        permissions,
        append: false,
        content,
    };
    let mut found = vec![
        file(LAUNCHER_PATH, "0755", LAUNCHER.to_owned()),
        file(SSHD_CONFIG_PATH, "0644", SSHD_CONFIG.to_owned()),
    ];
    let env = env::etc_environment(facts)?;
    if !env.is_empty() {
        // The first login has the variables too. `boot.sh` removes what earlier writes have appended.
        found.push(WriteFile {
            append: true,
            ..file("/etc/environment", "0644", format!("{BEGIN}\n{env}{END}\n"))
        });
    }
    Ok(found)
}

/// Shells share one connection. The defaults (10 sessions, 10 unauthenticated connections) refuse many at once.
const SSHD_CONFIG: &str = "MaxSessions 512\nMaxStartups 512\n";
const SSHD_CONFIG_PATH: &str = "/etc/ssh/sshd_config.d/10-rdd.conf";

/// Gives an existing account without login shell, such as Debian's `backup`, the shell and home folder of the user:
/// cloud-init leaves existing accounts as they are.
fn allow_login(facts: &Facts) -> String {
    let [user, home, shell] =
        [&facts.user, &facts.home, &facts.shell].map(|text| shell_quoted(text));
    format!(
        "if getent passwd {user} | grep -qE ':([^:]*/(nologin|false|sync))?$'; then\n  \
         mkdir -p {home} && chown {user}: {home} && usermod -d {home} -s {shell} {user}\nfi"
    )
}

/// Returns the text of a boot script for cloud-init, which gives it to sh. It contains the parameters, because the disk is
/// not mounted so early.
fn boot_command(facts: &Facts, script: &str) -> Result<String, CidataError> {
    let mut out = String::new();
    for (name, value) in &facts.params {
        env::one_line(name, value)?;
        out.push_str(&format!("export PARAM_{name}={}\n", shell_quoted(value)));
    }
    out.push_str(script);
    Ok(out)
}

/// Quotes a text for sh. In single quotes only the quote itself is special.
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
    #[serde(rename = "dhcp4-overrides", skip_serializing_if = "Option::is_none")]
    dhcp4_overrides: Option<Overrides>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nameservers: Option<NameServers<'a>>,
}

#[derive(Serialize)]
struct Overrides {
    #[serde(rename = "use-dns")]
    use_dns: bool,
}

#[derive(Serialize)]
struct NameServers<'a> {
    addresses: &'a [std::net::IpAddr],
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Match<'a> {
    MacAddress(&'a str),
    Name(&'static str),
}

pub(super) fn network_config(facts: &Facts) -> Result<String, CidataError> {
    let own_servers = !facts.name_servers.is_empty();
    let card = Ethernet {
        r#match: facts
            .mac
            .as_deref()
            .map_or(Match::Name("e*"), Match::MacAddress),
        dhcp4: true,
        dhcp_identifier: "mac",
        dhcp4_overrides: own_servers.then_some(Overrides { use_dns: false }),
        nameservers: own_servers.then_some(NameServers {
            addresses: &facts.name_servers,
        }),
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
