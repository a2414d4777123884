//! QEMU's control socket from outside: which process listens on it, and a connection to it.
//!
//! The kernel records which process called `listen` and reports it to each client (`SO_PEERCRED`, `LOCAL_PEERPID`). No
//! other process can claim that identity, and the listener is alive as long as the connection is.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Identity, Process};

use super::sys;

/// Between two attempts while the socket is missing or its queue is full.
const RETRY: Duration = Duration::from_millis(10);

/// The listener at the socket's path.
#[derive(Debug)]
pub(crate) enum Found {
    /// No socket, or a socket without a listener.
    None,
    /// The listening process, and the connection that proves it alive.
    Listener {
        process: Process,
        stream: sys::Stream,
    },
    /// A process listens, but could not be identified.
    Unclear { reason: String },
}

/// Connects and identifies the process that listens. Does not read from the socket.
pub(crate) async fn look(socket: &Path) -> Found {
    let unclear = |what: &str, error: &dyn std::fmt::Display| Found::Unclear {
        reason: format!("cannot {what} {}: {error}", socket.display()),
    };
    let stream = match sys::connect(socket).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            return Found::None;
        }
        // This includes a full queue: a process listens, but has too many clients waiting to be identified.
        Err(error) => return unclear("connect to", &error),
    };
    let pid = match sys::listener(&stream) {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            return unclear(
                "identify the listener of",
                &"the system does not report its process",
            );
        }
        Err(error) => return unclear("identify the listener of", &error),
    };
    let identity = match u32::try_from(pid).map(Identity::of) {
        Ok(Ok(Some(identity))) => identity,
        Ok(Ok(None)) => return Found::None,
        Ok(Err(error)) => return unclear("identify the listener of", &error),
        Err(_) => {
            return unclear(
                "identify the listener of",
                &format!("the system says process {pid}"),
            );
        }
    };
    let process = match Process::open(&identity) {
        Ok(Some(process)) => process,
        Ok(None) => return Found::None,
        Err(error) => return unclear("identify the listener of", &error),
    };
    // The PID could have been reused before the process was opened. If the listener is alive now, it was alive all along,
    // so the PID is its own.
    if sys::is_closed(&stream) {
        Found::None
    } else {
        Found::Listener { process, stream }
    }
}

/// Repeats [`look`] until a process listens, or until `deadline`.
pub(crate) async fn wait_for_listener(socket: &Path, deadline: Instant) -> Found {
    loop {
        let found = look(socket).await;
        if matches!(found, Found::Listener { .. }) || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(RETRY).await;
    }
}
