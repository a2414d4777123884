//! The port of 127.0.0.1 that leads to the guest's sshd.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::RunError;

/// Chooses the port: the template's, else the port of the last start if it is free, so that the user's own configuration
/// stays valid, else any free port.
pub(crate) fn choose(wanted: Option<u16>, last: Option<u16>) -> Result<u16, RunError> {
    if let Some(port) = wanted.filter(|port| *port != 0) {
        return check(port, bind(port)).map(|()| port);
    }
    if let Some(port) = last.filter(|port| *port != 0 && is_free(*port)) {
        return Ok(port);
    }
    let free = |source: io::Error| RunError::Prepare {
        name: "the ssh port".into(),
        reason: format!("no port of 127.0.0.1 is free: {source}"),
    };
    // The system chooses another port each time. QEMU binds it a moment later, and its start is repeated if another program
    // was faster.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(free)?;
    Ok(listener.local_addr().map_err(free)?.port())
}

/// Returns whether no program listens on the port.
fn is_free(port: u16) -> bool {
    bind(port).is_ok()
}

/// Listens on the port. (The standard library sets SO_REUSEADDR on Unix, so connections of the last VM in TIME_WAIT do not
/// count, and neither do they for QEMU.)
fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Returns why the port cannot be used, from the attempt to listen on it.
fn check(port: u16, attempt: io::Result<TcpListener>) -> Result<(), RunError> {
    match attempt {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(RunError::PortForbidden { port })
        }
        Err(_) => Err(RunError::PortInUse { port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_of_the_template_or_of_the_last_start_is_used_if_free() {
        let reserved = testutils::Port::reserve();
        let port = reserved.number();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(
            matches!(choose(Some(port), None), Err(RunError::PortInUse { port: p }) if p == port)
        );
        assert_ne!(choose(Some(0), Some(port)).unwrap(), port);
        assert_ne!(choose(None, Some(port)).unwrap(), 0);
        let forbidden = check(443, Err(io::ErrorKind::PermissionDenied.into())).unwrap_err();
        assert!(forbidden.to_string().contains("privileged"), "{forbidden}");
        drop(taken);
        assert_eq!(choose(None, Some(port)).unwrap(), port);
        assert_eq!(choose(Some(port), None).unwrap(), port);
    }
}
