//! What is at a path where a key should be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// No key is larger: RSA with 16384 bits has about 12 kB.
const LIMIT: u64 = 64 << 10;

/// What is there.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// The bytes of a regular file, possibly behind a link.
    Bytes(Vec<u8>),
    /// A folder, a socket, a link that leads nowhere, a file that is too large: no key, whatever it is.
    NoKey,
    /// A file that we may not read.
    Unreadable(io::Error),
}

/// Looks without opening anything that could block or be a device. A file of ours that we may not read is made
/// readable first.
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
            // A link to nowhere, or in a circle.
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
        // Should the file have become a pipe since we looked, the open must not wait for a writer.
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

/// Gives a file mode 0600, which ssh insists on.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const MODE: u32 = 0o600;
    if std::fs::metadata(path)?.permissions().mode() & 0o777 == MODE {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
}

/// The folder is private already (an access list that the user's profile gives).
#[cfg(not(unix))]
pub(super) fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}
