//! QEMU's sockets on Windows, which rdd cannot use yet: QEMU listens on sockets in the file system there too, and neither
//! the standard library nor tokio connects to those. Until one of them does, or QEMU is given named pipes, VMs on Windows
//! use WSL2 ([`crate::wsl`]), and this driver refuses to start a QEMU that it could not stop.

use std::io;
use std::path::Path;

use process::FileLock;
use process::spawn::Spawn;
use tokio::net::windows::named_pipe::NamedPipeClient;

use crate::error::DriverError;

const REASON: &str = "qemu VMs do not run on Windows yet, because rdd cannot connect to QEMU's Unix sockets there; \
    use wsl2, or run the same template on Linux";

/// Succeeds where rdd can talk to a QEMU that it starts.
pub(crate) fn supported() -> Result<(), DriverError> {
    Err(DriverError::Unsupported {
        field: "vmType".into(),
        reason: REASON.into(),
    })
}

/// Passes the lock to the child, which holds it for its whole life.
pub(crate) fn hand_over(_lock: FileLock, _child: Spawn) -> io::Result<Spawn> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A connection to one of QEMU's sockets.
pub(crate) type Stream = NamedPipeClient;

#[expect(clippy::unused_async, reason = "Unix waits")]
pub(crate) async fn connect(socket: &Path) -> io::Result<Stream> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{REASON} ({})", socket.display()),
    ))
}

/// Returns the PID of the listener.
pub(crate) fn listener(_stream: &Stream) -> io::Result<Option<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns whether the peer closed the connection.
pub(crate) fn is_closed(_stream: &Stream) -> bool {
    true
}
