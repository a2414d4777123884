//! QEMU's sockets on Windows, which nobody can talk to yet: QEMU listens on sockets in the file system there too, and
//! neither the standard library nor tokio connects to those. Until one does, or QEMU is given named pipes, a VM of
//! Windows is one of WSL2 ([`crate::wsl`]), and this driver says so instead of starting what it could not stop.

use std::io;
use std::path::Path;

use process::FileLock;
use process::spawn::Spawn;
use tokio::net::windows::named_pipe::NamedPipeClient;

use crate::DriverError;

const REASON: &str = "no VM runs on Windows yet, since rdd cannot talk to QEMU there (QEMU listens on a Unix socket); \
    the same template runs on Linux";

/// Whether a QEMU that is started can be talked to.
pub(crate) fn supported() -> Result<(), DriverError> {
    Err(DriverError::Unsupported {
        field: "vmType".into(),
        reason: REASON.into(),
    })
}

/// Gives the lock to the child, which holds it for its life.
pub(crate) fn hand_over(_lock: FileLock, _child: Spawn) -> io::Result<Spawn> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A connection to a socket of QEMU's.
pub(crate) type Stream = NamedPipeClient;

#[expect(clippy::unused_async, reason = "Unix waits")]
pub(crate) async fn connect(socket: &Path) -> io::Result<Stream> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{REASON} ({})", socket.display()),
    ))
}

/// The process that listens.
pub(crate) fn listener(_stream: &Stream) -> io::Result<Option<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the other side is gone.
pub(crate) fn is_closed(_stream: &Stream) -> bool {
    true
}
