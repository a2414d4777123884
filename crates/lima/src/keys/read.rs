//! Reads the file of a key without blocking.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The largest file of a key, in bytes. RSA with 16384 bits has about 12 kB.
const LIMIT: u64 = 64 << 10;

/// The content of the path.
#[derive(Debug)]
pub(super) enum Found {
    /// The path does not exist.
    Absent,
    /// The bytes of a regular file, which may be the target of a link.
    Bytes(Vec<u8>),
    /// Not a key: a folder, a socket, a dangling link, a file that is too large.
    NoKey,
    /// A file without permission to read.
    Unreadable(io::Error),
}

/// Reads a path without opening anything that could block or be a device. A file of this user without permission to read is
/// made readable first.
pub(super) fn look(path: &Path) -> Found {
    let Err(error) = std::fs::symlink_metadata(path) else {
        return match std::fs::metadata(path) {
            Ok(meta) if meta.is_file() && meta.len() <= LIMIT => match read(path) {
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied
                        && make_private(path).is_ok() =>
                {
                    read(path).map_or_else(Found::Unreadable, Found::Bytes)
                }
                result => result.map_or_else(Found::Unreadable, Found::Bytes),
            },
            Ok(_) => Found::NoKey,
            // A dangling link, or a loop of links.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Found::Unreadable(error)
            }
            Err(_) => Found::NoKey,
        };
    };
    if error.kind() == io::ErrorKind::NotFound {
        Found::Absent
    } else {
        Found::Unreadable(error)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        // If the file has become a pipe meanwhile, the open must not wait for a writer.
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
        );
    }
    let file: File = options.open(path)?;
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Gives a file mode 0600, which ssh requires.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const MODE: u32 = 0o600;
    if std::fs::metadata(path)?.permissions().mode() & 0o777 == MODE {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
}

/// Does nothing: the access list of the user's profile makes the folder private.
#[cfg(not(unix))]
pub(super) fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}
