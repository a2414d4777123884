//! What only Unix has: sockets in the file system and their users, permissions of files.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// A server's end of a local connection.
pub(crate) type ServerStream = UnixStream;
/// A client's end of a local connection.
pub(crate) type ClientStream = UnixStream;

/// Listens on a socket that only our user can use.
#[derive(Debug)]
pub(crate) struct Listener(UnixListener);

impl Listener {
    /// Listens on a socket at `path`, where nothing may be.
    pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
        let listener = UnixListener::bind(path)?;
        // The folder is private too, so nobody comes in before this.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Listener(listener))
    }

    /// The next connection; `None` for somebody else's, which is closed.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<ServerStream>> {
        let (stream, _) = self.0.accept().await?;
        Ok(is_owner(&stream).then_some(stream))
    }
}

/// Connects to what listens at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<ClientStream> {
    UnixStream::connect(path).await
}

/// Whether the peer is our own user, or root, who could do anything anyway.
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
            tracing::warn!(%error, "refused a connection on ha.sock whose user is not known");
            false
        }
    }
}

/// Opens a log to append to, for its owner only.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
