//! The guest's proxy variables, by the rules of Lima (`setupEnv` in `pkg/cidata/cidata.go`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use url::{Host, Url};

/// The variables in lower case; programs read both cases.
pub const PROXY_VARIABLES: [&str; 4] = ["ftp_proxy", "http_proxy", "https_proxy", "no_proxy"];

/// Adds the host's proxy variables to the guest's. The host's value wins over the template's, an empty value removes the
/// variable, and both cases get one value. A proxy on the host's loopback address is behind the gateway for the guest.
pub(super) fn propagate(
    env: &mut BTreeMap<String, String>,
    host: &BTreeMap<String, String>,
    gateway: Ipv4Addr,
) {
    for lower in PROXY_VARIABLES {
        let upper = lower.to_uppercase();
        let value = [
            host.get(lower),
            host.get(&upper),
            env.get(lower),
            env.get(&upper),
        ]
        .into_iter()
        .flatten()
        .next()
        .cloned();
        let Some(value) = value else { continue };
        env.remove(lower);
        env.remove(&upper);
        // A line end cannot be written to /etc/environment, and `#` begins a comment in it.
        if value.is_empty() || value.contains(|c: char| c.is_control() || c == '#') {
            continue;
        }
        let value = if lower == "no_proxy" {
            value
        } else {
            through_gateway(&value, gateway)
        };
        env.insert(upper, value.clone());
        env.insert(lower.to_owned(), value);
    }
}

fn through_gateway(value: &str, gateway: Ipv4Addr) -> String {
    let Ok(mut url) = Url::parse(value) else {
        return value.to_owned();
    };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_loopback && url.set_host(Some(&gateway.to_string())).is_ok() {
        url.to_string().trim_end_matches('/').to_owned()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_proxies_reach_the_guest_through_the_gateway() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let gateway = Ipv4Addr::new(10, 0, 2, 2);
        let mut env = map(&[
            ("A", "1"),
            ("http_proxy", "http://old"),
            ("FTP_PROXY", "http://127.0.0.1:1"),
        ]);
        let host = map(&[
            ("HTTP_PROXY", "http://user:pw@localhost:3128/"),
            ("https_proxy", "http://proxy.example:3128"),
            ("no_proxy", "localhost,127.0.0.1"),
            ("HOME", "/root"),
        ]);
        propagate(&mut env, &host, gateway);
        let expected = map(&[
            ("A", "1"),
            ("http_proxy", "http://user:pw@10.0.2.2:3128"),
            ("HTTP_PROXY", "http://user:pw@10.0.2.2:3128"),
            ("https_proxy", "http://proxy.example:3128"),
            ("HTTPS_PROXY", "http://proxy.example:3128"),
            ("no_proxy", "localhost,127.0.0.1"),
            ("NO_PROXY", "localhost,127.0.0.1"),
            ("ftp_proxy", "http://10.0.2.2:1"),
            ("FTP_PROXY", "http://10.0.2.2:1"),
        ]);
        assert_eq!(env, expected);
        propagate(&mut env, &map(&[("http_proxy", "")]), gateway);
        assert!(!env.contains_key("http_proxy") && !env.contains_key("HTTP_PROXY"));
    }
}
