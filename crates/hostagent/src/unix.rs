//! The Unix part: sockets in the file system and the users of their peers, permissions of files.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// A server's end of a local connection.
pub(crate) type ServerStream = UnixStream;
/// A client's end of a local connection.
pub(crate) type ClientStream = UnixStream;

/// Listens on a socket that only this user can use.
#[derive(Debug)]
pub(crate) struct Listener(UnixListener);

impl Listener {
    /// Listens on a socket at `path`, where no file may be.
    pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
        let listener = UnixListener::bind(path)?;
        // The folder is private too, so no other user can connect before this.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Listener(listener))
    }

    /// Accepts the next connection; `None` for a connection of another user, which is closed.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<ServerStream>> {
        let (stream, _) = self.0.accept().await?;
        Ok(is_owner(&stream).then_some(stream))
    }
}

/// Connects to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<ClientStream> {
    UnixStream::connect(path).await
}

/// Returns whether the peer is this user, or root, which can do everything anyway.
fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => true,
        Ok(peer) => {
            tracing::warn!(
                uid = peer.uid(),
                "refused another user's connection on ha.sock"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection on ha.sock whose user is unknown");
            false
        }
    }
}

/// Opens a log for appending, with mode 0600.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
