//! Second names of QEMU's sockets. A socket whose file was removed cannot be reached any more, although QEMU still
//! listens on it; another hard link to the socket still leads there.

use std::path::Path;

use process::file::remove_if_there;

use super::files::QemuFiles;

fn pairs(files: &QemuFiles) -> [(&Path, &Path); 2] {
    [
        (&files.qmp_socket, &files.qmp_spare),
        (&files.agent_socket, &files.agent_spare),
    ]
}

/// Makes the second names for the sockets of a QEMU that listens.
pub(super) fn keep(files: &QemuFiles) {
    for (socket, spare) in pairs(files) {
        if !socket.exists() {
            continue;
        }
        let kept = remove_if_there(spare)
            .map_err(|error| error.to_string())
            .and_then(|()| std::fs::hard_link(socket, spare).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            // Best effort: a file system may have no hard links.
            tracing::debug!(%error, spare = %spare.display(), "the socket has no second name");
        }
    }
}

/// Restores the first names of sockets from their second names.
pub(super) fn restore(files: &QemuFiles) {
    for (socket, spare) in pairs(files) {
        if !socket.exists() && spare.exists() && std::fs::hard_link(spare, socket).is_ok() {
            tracing::warn!(socket = %socket.display(), "QEMU's socket had been removed; restored it");
        }
    }
}
