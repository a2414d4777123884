//! QEMU's control socket from outside: who listens on it, and a connection to it.
//!
//! The kernel notes who called `listen` and tells each client (`SO_PEERCRED`, `LOCAL_PEERPID`). Nobody else can pose as
//! that process, and it is alive as long as the connection is: that is QEMU's identity here.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Identity, Process};

use super::sys;

/// Between two tries while the socket is not there yet or its queue is full.
const RETRY: Duration = Duration::from_millis(10);

/// What was found at the socket's path.
#[derive(Debug)]
pub(crate) enum Found {
    /// No socket, or one that nobody listens on.
    Nobody,
    /// Its listener, held, and the connection that proves it alive.
    Listener {
        process: Process,
        stream: sys::Stream,
    },
    /// A listener that could not be identified.
    Unclear { reason: String },
}

/// Connects, and takes hold of the process that listens. Does not read from the socket.
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
            return Found::Nobody;
        }
        // A full queue too: somebody listens, and has too many clients waiting to tell who it is.
        Err(error) => return unclear("connect to", &error),
    };
    let pid = match sys::listener(&stream) {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            return unclear(
                "identify the listener of",
                &"the system does not tell its process",
            );
        }
        Err(error) => return unclear("identify the listener of", &error),
    };
    let identity = match u32::try_from(pid).map(Identity::of) {
        Ok(Ok(Some(identity))) => identity,
        Ok(Ok(None)) => return Found::Nobody,
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
        Ok(None) => return Found::Nobody,
        Err(error) => return unclear("identify the listener of", &error),
    };
    // The number could have changed hands until the process was held. If the listener is alive now, it was all along,
    // and the number is its own.
    if sys::is_closed(&stream) {
        Found::Nobody
    } else {
        Found::Listener { process, stream }
    }
}

/// [`look`], again until something listens, or `deadline`.
pub(crate) async fn wait_for_listener(socket: &Path, deadline: Instant) -> Found {
    loop {
        let found = look(socket).await;
        if matches!(found, Found::Listener { .. }) || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(RETRY).await;
    }
}
