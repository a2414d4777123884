//! Moves unusable files aside.

use std::path::{Path, PathBuf};

use super::error::KeyError;

/// The files that are kept beside each other. After that many, the user must look at them.
const LIMIT: u32 = 1000;

/// Renames `path` to the first free `path.broken-N`. Works for folders and links too.
pub(super) fn move_aside(path: &Path) -> Result<PathBuf, KeyError> {
    for number in 1..=LIMIT {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        let target = PathBuf::from(name);
        // The caller holds the folder's lock, so no other process takes the name before the rename.
        if std::fs::symlink_metadata(&target).is_ok() {
            continue;
        }
        std::fs::rename(path, &target).map_err(|source| KeyError::Io {
            action: "move aside",
            path: path.to_owned(),
            source,
            remedy: "move it away yourself, and try again",
        })?;
        tracing::warn!(
            "{} is not a usable ssh key; moved it to {}",
            path.display(),
            target.display()
        );
        process::crash::point("keys.after-aside");
        return Ok(target);
    }
    Err(KeyError::TooManyAside {
        path: path.to_owned(),
    })
}
