//! QEMU's sockets on Unix.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use process::FileLock;
use process::spawn::Spawn;
use rustix::net::{RecvFlags, recv};
use tokio::net::UnixStream;

use crate::DriverError;

/// Whether a QEMU that is started can be talked to.
#[expect(clippy::unnecessary_wraps, reason = "on Windows it cannot")]
pub(crate) fn supported() -> Result<(), DriverError> {
    Ok(())
}

/// Gives the lock to the child, which holds it for its life.
pub(crate) fn hand_over(lock: FileLock, mut child: Spawn) -> io::Result<Spawn> {
    let lock = lock.into_fd()?;
    child.pass_fd(lock)?;
    Ok(child)
}

/// A connection to a socket of QEMU's.
pub(crate) type Stream = UnixStream;

pub(crate) async fn connect(socket: &Path) -> io::Result<Stream> {
    UnixStream::connect(socket).await
}

/// The process that listens, as the kernel noted it (`SO_PEERCRED`, `LOCAL_PEERPID`); `None` where it does not tell.
pub(crate) fn listener(stream: &Stream) -> io::Result<Option<i32>> {
    Ok(stream.peer_cred()?.pid())
}

/// Whether the other side is gone. A greeting that waits to be read stays there.
pub(crate) fn is_closed(stream: &Stream) -> bool {
    let mut byte = [0u8; 1];
    match recv(
        stream.as_fd(),
        &mut byte[..],
        RecvFlags::PEEK | RecvFlags::DONTWAIT,
    ) {
        Ok((_, 0)) => true,
        Ok(_) => false,
        Err(error) => io::Error::from(error).kind() != io::ErrorKind::WouldBlock,
    }
}
