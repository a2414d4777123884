//! The port of the API.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

use crate::instance::{BASE_PORT, Instance};

/// Listens on the port that the user chose, else on the instance's own port, else on 6443, else on any free port. Only
/// this host can connect.
pub(crate) fn listen(instance: &Instance, chosen: Option<u16>) -> anyhow::Result<TcpListener> {
    if let Some(port) = chosen.filter(|port| *port != 0) {
        return bind(port).with_context(|| {
            format!(
                "cannot listen on port {port} of 127.0.0.1, which --secure-port asked for; \
                 choose another one with `rdd svc start --secure-port N`, or leave the flag out"
            )
        });
    }
    for port in [instance.preferred_port(), BASE_PORT] {
        match bind(port) {
            Ok(listener) => return Ok(listener),
            Err(error) => tracing::info!(
                "port {port} of 127.0.0.1 cannot be used, trying another one: {error}"
            ),
        }
    }
    bind(0).context("cannot listen on any port of 127.0.0.1")
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_port_is_replaced_unless_the_user_chose_it() {
        let instance = Instance::new("port-test-of-rdd").unwrap();
        let busy = bind(0).unwrap();
        let port = busy.local_addr().unwrap().port();
        let error = format!("{:#}", listen(&instance, Some(port)).unwrap_err());
        assert!(
            error.contains(&format!("port {port}")) && error.contains("--secure-port"),
            "{error}"
        );

        let mine = listen(&instance, None).unwrap();
        let other = listen(&instance, Some(0)).unwrap();
        assert_ne!(mine.local_addr().unwrap(), other.local_addr().unwrap());
    }
}
