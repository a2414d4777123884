//! The lines for the guest's `/etc/hosts`: `hostResolver.hosts` and the host's own names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Lima's name for the host.
const HOST: &str = "host.lima.internal";

/// Aliases of aliases, at most.
const ALIAS_LIMIT: usize = 16;

/// Returns `ADDRESS NAME` lines. The value of a name is an address or another name of the map; names that lead to no
/// address are left out.
pub(super) fn lines(hosts: &BTreeMap<String, String>, gateway: Ipv4Addr) -> Vec<String> {
    let address_of = |name: &str| -> Option<IpAddr> {
        let mut name = name;
        for _ in 0..ALIAS_LIMIT {
            let Some(value) = hosts.get(name) else {
                return (name == HOST).then_some(gateway.into());
            };
            match value.parse() {
                Ok(address) => return Some(address),
                Err(_) => name = value,
            }
        }
        None
    };
    let names = hosts.keys().map(String::as_str);
    let own = (!hosts.contains_key(HOST)).then_some(HOST);
    names
        .chain(own)
        .filter(|name| is_host_name(name))
        .filter_map(|name| Some(format!("{} {name}", address_of(name)?)))
        .collect()
}

/// Whether a name is safe in `/etc/hosts`.
pub(crate) fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_addresses_through_aliases() {
        let hosts = [
            ("a.example", "192.0.2.1"),
            ("b.example", "a.example"),
            ("docker", "host.lima.internal"),
            ("loop", "loop"),
            ("nowhere", "unknown.example"),
            ("bad name\n", "192.0.2.2"),
            ("six", "fd00::1"),
        ];
        let hosts = hosts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            lines(&hosts.into(), Ipv4Addr::new(10, 0, 2, 2)),
            [
                "192.0.2.1 a.example",
                "192.0.2.1 b.example",
                "10.0.2.2 docker",
                "fd00::1 six",
                "10.0.2.2 host.lima.internal",
            ]
        );
    }
}
