//! Writes the files of provision mode `data`, whose content is on the cidata disk and whose other properties are in
//! `lima.env` (`LIMA_CIDATA_DATAFILE_NAME_PATH` and the like, as in Lima).

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use guestagent::accounts::owner_ids;

use super::files;
use super::seed::Seed;

/// The folder of the contents on the disk.
pub(crate) const FOLDER: &str = "provision.data/";
const DEFAULT_MODE: u32 = 0o644;

/// Writes the file whose content is at `source` on the disk. An existing file stays if the template says so.
///
/// # Errors
/// A sentence about what failed.
pub(crate) fn write(seed: &Seed, source: &str) -> Result<(), String> {
    let name = source.strip_prefix(FOLDER).unwrap_or(source);
    let property = |property: &str| {
        let key = format!("LIMA_CIDATA_DATAFILE_{name}_{property}");
        let variables = &seed.settings.environment;
        let found = variables.iter().find(|(known, _)| *known == key);
        found.map_or("", |(_, value)| value.as_str())
    };
    let path = PathBuf::from(property("PATH"));
    if !path.is_absolute() {
        return Err(format!(
            "cannot be written: {path:?} is not an absolute path"
        ));
    }
    if property("OVERWRITE") == "false" && path.exists() {
        return Ok(());
    }
    let owner = property("OWNER");
    let passwd = files::text("/etc/passwd");
    let ids = owner_ids(owner, &passwd, &files::text("/etc/group"))
        .ok_or_else(|| format!("cannot be written: there is no owner {owner:?}"))?;
    let mode = u32::from_str_radix(property("PERMISSIONS"), 8).unwrap_or(DEFAULT_MODE);
    let written = fs::read(seed.folder.join(source))
        .and_then(|bytes| make_folders(&path, ids).map(|()| bytes))
        .and_then(|bytes| files::replace(&path, &bytes, mode & 0o7777, Some(ids)));
    written.map_err(|error| format!("cannot be written to {}: {error}", path.display()))
}

/// Makes the missing folders above a file. They get the owner of the file.
fn make_folders(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder)?;
        chown(folder, Some(uid), Some(gid))?;
    }
    Ok(())
}
