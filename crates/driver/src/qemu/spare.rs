//! Second names of QEMU's sockets. A socket whose file was removed cannot be reached by anybody any more, though QEMU
//! goes on to listen; another hard link to it still leads there.

use std::path::Path;

use process::file::remove_if_there;

use crate::MachineFiles;

fn pairs(files: &MachineFiles) -> [(&Path, &Path); 2] {
    [
        (&files.qmp_socket, &files.qmp_spare),
        (&files.agent_socket, &files.agent_spare),
    ]
}

/// Gives the sockets of a QEMU that listens their second names.
pub(super) fn keep(files: &MachineFiles) {
    for (socket, spare) in pairs(files) {
        if !socket.exists() {
            continue;
        }
        let kept = remove_if_there(spare)
            .map_err(|error| error.to_string())
            .and_then(|()| std::fs::hard_link(socket, spare).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            // A file system without hard links: all is as it would be without this.
            tracing::debug!(%error, spare = %spare.display(), "the socket has one name only");
        }
    }
}

/// Puts back the names that somebody removed.
pub(super) fn restore(files: &MachineFiles) {
    for (socket, spare) in pairs(files) {
        if !socket.exists() && spare.exists() && std::fs::hard_link(spare, socket).is_ok() {
            tracing::warn!(socket = %socket.display(), "somebody removed QEMU's socket; it is back");
        }
    }
}
