//! Parses the cidata disk: Lima's layout (`lima.env`, `param.env`, `etc_environment`, `meta-data`, `ssh_authorized_keys`,
//! `provision.system/…`, `provision.user/…`) and NoCloud's `user-data`.
//!
//! The values go into files that root reads, so each one is checked. An invalid value is replaced by the default with a
//! warning instead of stopping the boot, because a guest without ssh cannot be repaired.

use std::net::{IpAddr, Ipv4Addr};

/// The label of the disk.
pub const VOLUME_LABEL: &str = "cidata";

/// The longest user name that Debian's tools accept, in bytes.
const USER_NAME_LIMIT: usize = 32;
/// A host name is one label of a domain name (RFC 1123).
const HOSTNAME_LIMIT: usize = 63;

/// The user of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The full name, without colons and control characters.
    pub comment: String,
    /// The home folder, absolute.
    pub home: String,
    /// The login shell, absolute.
    pub shell: String,
}

/// The address on the driver's user-mode network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix in bits.
    pub prefix: u8,
    /// The address of the host.
    pub gateway: Ipv4Addr,
    /// The address of the driver's name server.
    pub dns: Ipv4Addr,
}

impl Default for Network {
    /// The addresses of QEMU's user network.
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
        }
    }
}

/// The settings that the disk asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The instance's name. If it differs from that of the last boot, this disk is a clone.
    pub instance: String,
    /// The guest's host name.
    pub hostname: String,
    /// The user.
    pub user: User,
    /// The network.
    pub network: Network,
    /// The lines of `authorized_keys`.
    pub authorized_keys: Vec<String>,
    /// The variables of provision scripts (`LIMA_CIDATA_*` and `PARAM_*`).
    pub environment: Vec<(String, String)>,
    /// The variables of all sessions and scripts: the lines of `/etc/environment`, as they are, and parsed.
    pub env_lines: Vec<String>,
    /// The same variables, without the quotes of the file.
    pub env: Vec<(String, String)>,
    /// The lines to add to `/etc/hosts`.
    pub hosts: Vec<String>,
    /// Name servers in the place of the driver's; empty for that one.
    pub name_servers: Vec<IpAddr>,
    /// The time zone, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// A sentence for each invalid value.
    pub warnings: Vec<String>,
}

/// The texts of the files that contain settings. Absent files are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// `lima.env`
    pub lima_env: &'a str,
    /// `param.env`
    pub param_env: &'a str,
    /// `etc_environment`
    pub etc_environment: &'a str,
    /// `etc_hosts`
    pub etc_hosts: &'a str,
    /// `meta-data`
    pub meta_data: &'a str,
    /// `ssh_authorized_keys`
    pub ssh_authorized_keys: &'a str,
    /// `user-data`, of which only the keys are read
    pub user_data: &'a str,
}

/// Parses `KEY=VALUE` lines as Lima's boot script does: without quoting, the value ends with the line. Lines that assign to
/// no variable are left out.
#[must_use]
pub fn parse_env(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.trim_end_matches('\r').split_once('=')?;
            let valid = is_variable(key) && !value.contains('\0');
            valid.then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The lines of `etc_environment` that assign a variable.
fn env_lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| {
            let name = line.split_once('=').map(|(name, _)| name);
            name.is_some_and(is_variable) && !line.chars().any(|c| c.is_control() && c != '\t')
        })
        .map(str::to_owned)
        .collect()
}

/// The variables of `/etc/environment`, as pam_env(8) reads them: it takes off one pair of quotes.
fn parse_environment(lines: &[String]) -> Vec<(String, String)> {
    let mut variables = parse_env(&lines.join("\n"));
    for (_, value) in &mut variables {
        let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
            *value = inner.to_owned();
        }
    }
    variables
}

/// `ADDRESS NAME` lines of `etc_hosts`.
fn hosts_lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words
                .next()
                .is_some_and(|word| word.parse::<IpAddr>().is_ok());
            let names = words.all(|word| {
                word.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            });
            address && names
        })
        .map(str::to_owned)
        .collect()
}

fn valid_timezone(zone: &str) -> bool {
    zone.len() <= 64
        && zone
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && zone
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
}

/// A plain scalar at the top level of `meta-data`, without its quotes.
fn meta_value<'a>(meta_data: &'a str, key: &str) -> Option<&'a str> {
    meta_data.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix(':')?.trim();
        let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let single = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
        Some(quoted.or(single).unwrap_or(value))
    })
}

fn is_key_line(line: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| line.starts_with(prefix))
        && line.split_ascii_whitespace().count() >= 2
        && !line.chars().any(char::is_control)
}

/// The keys without options: a line that begins with `command=` or the like is left out.
fn key_lines(sources: &Sources<'_>) -> Vec<String> {
    let plain: Vec<String> = sources
        .ssh_authorized_keys
        .lines()
        .map(str::trim)
        .filter(|l| is_key_line(l))
        .map(str::to_owned)
        .collect();
    if !plain.is_empty() {
        return plain;
    }
    // A disk for cloud-init only has its keys in `user-data`, as items of a YAML list.
    sources
        .user_data
        .lines()
        .filter_map(|line| {
            let item = line.trim().strip_prefix("- ")?.trim();
            let item = item
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .unwrap_or(item);
            is_key_line(item).then(|| item.to_owned())
        })
        .collect()
}

fn valid_user_name(name: &str) -> bool {
    name.len() <= USER_NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-' || b == b'.'
        })
        && name != "root"
}

/// Whether a path is safe in `passwd` and as the location of `authorized_keys`.
fn valid_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() < 256
        && !path.contains([':', '\n'])
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == "..")
}

fn valid_hostname(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= HOSTNAME_LIMIT
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Makes a host name of an instance name, which may have dots and underscores.
fn hostname_from(name: &str) -> String {
    let mut host: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    host.truncate(HOSTNAME_LIMIT);
    let host = host.trim_matches('-');
    if host.is_empty() {
        "rdd".to_owned()
    } else {
        host.to_owned()
    }
}

impl Settings {
    /// Parses the settings.
    #[must_use]
    pub fn parse(sources: &Sources<'_>) -> Self {
        let environment: Vec<(String, String)> = parse_env(sources.lima_env)
            .into_iter()
            .chain(parse_env(sources.param_env))
            .collect();
        let get = |key: &str| {
            let found = environment
                .iter()
                .rev()
                .find(|(k, _)| k.strip_prefix("LIMA_CIDATA_") == Some(key));
            found
                .map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
        };
        let mut warnings = Vec::new();
        let mut checked = |key: &str, default: String, valid: fn(&str) -> bool| match get(key) {
            None => default,
            Some(value) if valid(value) => value.to_owned(),
            Some(value) => {
                warnings.push(format!(
                    "LIMA_CIDATA_{key}={value:?} is not usable; {default:?} is used instead"
                ));
                default
            }
        };
        let name = checked("USER", "lima".to_owned(), valid_user_name);
        let uid = checked("UID", "1000".to_owned(), |v| {
            // The kernel's overflow id, the id of no user (Debian policy 9.2.2), and two that mean "no id".
            v.parse::<u32>().is_ok_and(|uid| {
                uid > 0 && ![65_534, 65_535, u32::MAX - 1, u32::MAX].contains(&uid)
            })
        });
        let home = checked("HOME", format!("/home/{name}"), valid_path);
        let shell = checked("SHELL", "/bin/bash".to_owned(), valid_path);
        let timezone = checked("TIMEZONE", String::new(), valid_timezone);
        let servers = checked("DNS_ADDRESSES", String::new(), |list| {
            list.split(',')
                .all(|address| address.parse::<IpAddr>().is_ok())
        });
        let fallback = Network::default();
        let mut address = |key: &str, default: Ipv4Addr| {
            let text = checked(key, default.to_string(), |v| v.parse::<Ipv4Addr>().is_ok());
            text.parse().unwrap_or(default)
        };
        let network = Network {
            address: address("SLIRP_IP_ADDRESS", fallback.address),
            prefix: fallback.prefix,
            gateway: address("SLIRP_GATEWAY", fallback.gateway),
            dns: address("SLIRP_DNS", fallback.dns),
        };
        let comment: String = get("COMMENT")
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control() && *c != ':')
            .take(128)
            .collect();
        let instance = get("NAME")
            .or_else(|| meta_value(sources.meta_data, "instance-id"))
            .unwrap_or("rdd")
            .to_owned();
        let hostname = match meta_value(sources.meta_data, "local-hostname") {
            Some(host) if valid_hostname(host) => host.to_owned(),
            Some(host) => hostname_from(host),
            None => hostname_from(&instance),
        };
        let uid = uid.parse().unwrap_or(1000);
        let user = User {
            name,
            uid,
            comment,
            home,
            shell,
        };
        let env_lines = env_lines(sources.etc_environment);
        Self {
            instance,
            hostname,
            user,
            network,
            authorized_keys: key_lines(sources),
            environment,
            env: parse_environment(&env_lines),
            env_lines,
            hosts: hosts_lines(sources.etc_hosts),
            name_servers: servers
                .split(',')
                .filter_map(|address| address.parse().ok())
                .collect(),
            timezone: Some(timezone).filter(|zone| !zone.is_empty()),
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_lima_are_parsed() {
        let settings = Settings::parse(&Sources {
            lima_env: "LIMA_CIDATA_NAME=web.1\nLIMA_CIDATA_USER=jan\nLIMA_CIDATA_UID=501\nLIMA_CIDATA_COMMENT=Jan = D. \
                       O'Dev\nLIMA_CIDATA_HOME=/home/jan.guest\nLIMA_CIDATA_SHELL=/bin/bash\nLIMA_CIDATA_MOUNTS=0\n\
                       LIMA_CIDATA_SLIRP_IP_ADDRESS=192.168.5.15\nLIMA_CIDATA_SLIRP_GATEWAY=192.168.5.2\n\
                       LIMA_CIDATA_SLIRP_DNS=192.168.5.3\nLIMA_CIDATA_VMTYPE=\n\
                       LIMA_CIDATA_TIMEZONE=Europe/Berlin\nLIMA_CIDATA_DNS_ADDRESSES=1.1.1.1,fd00::1\n",
            param_env: "PARAM_Color=blue green\n",
            etc_environment: "A=plain\nB=\"two words 'and \" quotes\"\n# no line\n2=x\nC=\n",
            etc_hosts: "10.0.2.2 host.lima.internal\n1.2.3.4 x;y\nname 1.2.3.4\n",
            meta_data: "instance-id: iid-1\nlocal-hostname: \"lima-web-1\"\n",
            ssh_authorized_keys: "ssh-ed25519 AAAA jan@host\n\n# no key\nssh-rsa BBBB\n",
            user_data: "",
        });
        assert_eq!(
            settings.user,
            User {
                name: "jan".into(),
                uid: 501,
                comment: "Jan = D. O'Dev".into(),
                home: "/home/jan.guest".into(),
                shell: "/bin/bash".into(),
            }
        );
        assert_eq!(
            (settings.instance.as_str(), settings.hostname.as_str()),
            ("web.1", "lima-web-1")
        );
        assert_eq!(settings.network.gateway, Ipv4Addr::new(192, 168, 5, 2));
        assert_eq!(
            settings.authorized_keys,
            ["ssh-ed25519 AAAA jan@host", "ssh-rsa BBBB"]
        );
        assert!(
            settings
                .environment
                .contains(&("PARAM_Color".into(), "blue green".into()))
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings.env,
            [
                pair("A", "plain"),
                pair("B", "two words 'and \" quotes"),
                pair("C", "")
            ]
        );
        assert_eq!(settings.env_lines[1], "B=\"two words 'and \" quotes\"");
        assert_eq!(settings.hosts, ["10.0.2.2 host.lima.internal"]);
        assert_eq!(settings.timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(settings.name_servers.len(), 2);
        assert_eq!(settings.warnings, [""; 0]);
    }

    #[test]
    fn invalid_values_become_defaults_with_a_warning() {
        let cases = [
            ("USER", "root"),
            ("USER", "a:0:0"),
            ("USER", "-rf"),
            ("USER", "../../etc/passwd"),
            ("USER", "ALL=(ALL) NOPASSWD:ALL #"),
            ("UID", "0"),
            ("UID", "-1"),
            ("UID", "4294967296"),
            ("UID", "65534"),
            ("TIMEZONE", "../../etc/passwd"),
            ("TIMEZONE", "/etc/passwd"),
            ("DNS_ADDRESSES", "1.1.1.1,x"),
            ("HOME", "/home/x:/bin/sh"),
            ("HOME", "/home/../root"),
            ("HOME", "relative"),
            ("SHELL", "/bin/sh\u{7}"),
            ("SLIRP_DNS", "10.0.2.3\u{b}nameserver"),
        ];
        for (key, value) in cases {
            let line = format!("LIMA_CIDATA_{key}={value}\n");
            let settings = Settings::parse(&Sources {
                lima_env: &line,
                ..Sources::default()
            });
            assert_eq!(settings.warnings.len(), 1, "{line}");
            assert_eq!(settings.user.name, "lima", "{line}");
            assert_eq!(settings.user.uid, 1000, "{line}");
            assert_eq!(settings.user.home, "/home/lima", "{line}");
        }
        let nothing = Settings::parse(&Sources::default());
        assert_eq!(
            (nothing.warnings.len(), nothing.hostname.as_str()),
            (0, "rdd")
        );
    }

    #[test]
    fn lines_without_assignment_are_left_out() {
        let env = parse_env("A=1\r\n\nB\n=2\n2C=3\nD E=4\nF-G=5\n_h=a=b \n");
        assert_eq!(
            env,
            [("A".into(), "1".into()), ("_h".into(), "a=b ".into())]
        );
    }

    #[test]
    fn keys_of_a_cloud_init_disk_are_read_without_those_with_options() {
        let user_data = "#cloud-config\nusers:\n  - name: \"jan\"\n    ssh-authorized-keys:\n      - \"ssh-ed25519 AAAA \
                         a@b\"\n      - command=\"rm\" ssh-rsa CCCC\n";
        let settings = Settings::parse(&Sources {
            user_data,
            ..Sources::default()
        });
        assert_eq!(settings.authorized_keys, ["ssh-ed25519 AAAA a@b"]);
    }

    #[test]
    fn instance_names_become_host_names() {
        for (name, host) in [
            ("a.b_c", "a-b-c"),
            ("-", "rdd"),
            ("Ünï", "n"),
            ("web", "web"),
        ] {
            assert_eq!(hostname_from(name), host);
        }
    }
}
