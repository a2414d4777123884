//! Writes files that are never seen half written.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Replaces `path` with `bytes`. The new file has `mode` and `owner` from the start. There is no sync, because each boot
/// writes these files again.
///
/// # Errors
/// The folder cannot be written to.
pub(crate) fn replace(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rdd-new");
    let temporary = path.with_file_name(name);
    let written = (|| {
        // The file of an interrupted boot is removed first, so that `create_new` succeeds. It follows no link.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Calls [`replace`] if the content differs.
///
/// # Errors
/// As [`replace`].
pub(crate) fn replace_if_different(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        Ok(())
    } else {
        replace(path, bytes, mode, owner)
    }
}

/// Reads a text. A file that cannot be read is empty.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
