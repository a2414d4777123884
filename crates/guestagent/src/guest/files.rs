//! Files that are never half written.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Replaces `path` with `bytes`, under `mode` and `owner` from the start; no sync, as the boot writes these again.
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
        // A left-over of an interrupted boot goes first: `create_new` follows no link that someone put there.
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

/// Like [`replace`] when the content differs; the file of an unchanged boot is not touched.
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

/// Reads a text; what cannot be read is empty.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
