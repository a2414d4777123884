//! QEMU's sockets on Unix.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use process::FileLock;
use process::spawn::Spawn;
use rustix::net::{RecvFlags, recv};
use tokio::net::UnixStream;

use crate::error::DriverError;

/// Succeeds where rdd can talk to a QEMU that it starts.
#[expect(clippy::unnecessary_wraps, reason = "on Windows it cannot")]
pub(crate) fn supported() -> Result<(), DriverError> {
    Ok(())
}

/// Passes the lock to the child, which holds it for its whole life.
pub(crate) fn hand_over(lock: FileLock, mut child: Spawn) -> io::Result<Spawn> {
    let lock = lock.into_fd()?;
    child.pass_fd(lock)?;
    Ok(child)
}

/// A connection to one of QEMU's sockets.
pub(crate) type Stream = UnixStream;

pub(crate) async fn connect(socket: &Path) -> io::Result<Stream> {
    UnixStream::connect(socket).await
}

/// Returns the PID of the listener, as the kernel recorded it (`SO_PEERCRED`, `LOCAL_PEERPID`); `None` where the kernel
/// does not report it.
pub(crate) fn listener(stream: &Stream) -> io::Result<Option<i32>> {
    Ok(stream.peer_cred()?.pid())
}

/// Returns whether the peer closed the connection. Leaves unread data in the socket.
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
