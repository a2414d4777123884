//! Which folders belong to the instance, so that rdd changes the mode of, and removes, only what it made.
//!
//! Each folder that rdd makes gets a marker file with the instance's name. Folders of instances that were made before
//! there were markers are recognised by their contents, and marked at the next start. A folder that the user made stays
//! as it is: rdd puts its files into it, and removes no others.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::instance::Instance;
use crate::paths::{LOG_OWNER, Paths};

/// The marker's name.
pub(crate) const MARKER: &str = ".rdd-instance";

/// The files in an instance's data folder, apart from its database and what interrupted writes left.
const DATA_FILES: [&str; 8] = [
    MARKER,
    "args.json",
    "config.yaml",
    "rdd.lock",
    "rdd.pid",
    "ready.json",
    "start.lock",
    "tls",
];

/// How the names of the database, its index and its log begin.
const DATABASE: &str = "rdd.db";

/// The content of a marker.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    /// The full name of the instance, `rancher-desktop-NAME`.
    instance: String,
    /// For people who find the file.
    #[serde(default)]
    note: String,
}

/// Makes the folders of the instance that are missing, and marks those that are its own.
///
/// # Errors
/// A folder is another user's, or holds files that rdd did not make where all files must be rdd's.
pub(crate) fn claim(context: &Context) -> anyhow::Result<()> {
    check_user(&context.paths)?;
    let (paths, instance) = (&context.paths, &context.instance);
    if !claim_folder(&paths.dir, instance, is_data)? {
        bail!(
            "cannot use {} as the folder of \"{instance}\": it holds files that rdd did not make; move it away, or \
             choose another instance with `rdd --instance NAME`",
            paths.dir.display()
        );
    }
    // `~/.rdNAME` can be a folder of the user's; then only `lima` in it is ours.
    claim_folder(&paths.short_dir, instance, is_lima_home)?;
    if !claim_folder(&paths.lima_home(), instance, is_in_lima_home)? {
        bail!(
            "cannot keep VMs in {}: it holds files that rdd did not make; move it away, or choose another instance \
             with `rdd --instance NAME`",
            paths.lima_home().display()
        );
    }
    claim_log_folder(context)
}

/// Makes the log folder if it is missing, and notes that the logs in it are this instance's.
fn claim_log_folder(context: &Context) -> anyhow::Result<()> {
    let (paths, instance) = (&context.paths, &context.instance);
    if paths.log_dir_is_default {
        claim_folder(&paths.log_dir, instance, is_log)?;
    } else if !paths.log_dir.exists() {
        claim_folder(&paths.log_dir, instance, |_| false)?;
    }
    let owner = paths.log_dir.join(LOG_OWNER);
    if !owner.exists() {
        write(&owner, &format!("{instance}\n"))?;
    }
    Ok(())
}

/// Makes and marks the folder, or marks it when every entry is one that rdd makes. False when it is not rdd's: then it
/// is left as it is.
fn claim_folder(
    folder: &Path,
    instance: &Instance,
    is_known: fn(&Path) -> bool,
) -> anyhow::Result<bool> {
    let ours = match marked_for(folder) {
        Some(name) if name == instance.to_string() => true,
        Some(name) => bail!("{} belongs to the instance \"{name}\"", folder.display()),
        None => entries(folder)?.iter().all(|entry| is_known(entry)),
    };
    if ours {
        process::file::create_private_dir(folder)?;
        if !folder.join(MARKER).exists() {
            let marker = Marker {
                instance: instance.to_string(),
                note: "rdd made this folder; `rdd svc delete` removes it with all that is in it"
                    .to_owned(),
            };
            write(
                &folder.join(MARKER),
                &format!("{}\n", serde_json::to_string(&marker)?),
            )?;
        }
    }
    Ok(ours)
}

/// Writes a marker. After a crash of the machine it can be missing, and is then written again.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The instance that the folder's marker names.
fn marked_for(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join(MARKER)).ok()?;
    serde_json::from_slice::<Marker>(&text)
        .ok()
        .map(|marker| marker.instance)
}

/// Whether rdd made the folder for this instance.
pub(crate) fn is_marked(folder: &Path, instance: &Instance) -> bool {
    marked_for(folder).is_some_and(|name| name == instance.to_string())
}

/// Whether there is anything of the instance, apart from logs.
pub(crate) fn exists(context: &Context) -> anyhow::Result<bool> {
    let (paths, instance) = (&context.paths, &context.instance);
    if [&paths.dir, &paths.short_dir, &paths.lima_home()]
        .iter()
        .any(|folder| is_marked(folder, instance))
    {
        return Ok(true);
    }
    // Made before there were markers.
    let data = entries(&paths.dir)?.iter().any(|entry| is_data(entry));
    let vms = entries(&paths.lima_home())?
        .iter()
        .any(|entry| has_run_here(entry));
    Ok(data || vms)
}

/// Whether rdd makes an entry of this name in an instance's data folder.
pub(crate) fn is_data(entry: &Path) -> bool {
    let name = entry
        .file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    DATA_FILES.contains(&&*name)
        || name.starts_with(DATABASE)
        || name.ends_with(process::file::TEMPORARY_SUFFIX)
}

/// Whether the entry of the short folder is a Lima home in which everything is rdd's.
fn is_lima_home(entry: &Path) -> bool {
    let inside = entries(entry).unwrap_or_default();
    entry.ends_with("lima") && inside.iter().all(|entry| is_in_lima_home(entry))
}

/// Whether rdd makes an entry of this name in a log folder.
pub(crate) fn is_log(entry: &Path) -> bool {
    let name = entry
        .file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    let log = ["rdd.stdout.", "rdd.stderr."]
        .iter()
        .any(|start| name.starts_with(start));
    (log && name.ends_with(".log")) || ["vms", MARKER, LOG_OWNER].contains(&&*name)
}

/// Whether the entry of a Lima home is the folder of a VM, or one of Lima's own, whose names begin with `_`.
pub(crate) fn is_in_lima_home(entry: &Path) -> bool {
    let name = entry
        .file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    name == MARKER || name.starts_with('_') || is_vm(entry)
}

/// Whether it is the folder of a VM, or a link to one.
pub(crate) fn is_vm(entry: &Path) -> bool {
    entry.join("lima.yaml").is_file() || has_run_here(entry)
}

/// Whether a hostagent of rdd has had its lock in this folder; limactl makes no such file.
fn has_run_here(entry: &Path) -> bool {
    entry.join("ha.lock").is_file()
}

/// The entries of the folder; none when it does not exist.
pub(crate) fn entries(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let read = || -> io::Result<Vec<_>> {
        match fs::read_dir(folder) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    read().with_context(|| format!("cannot list the folder {}", folder.display()))
}

/// Refuses folders that belong to another user, such as those that `sudo rdd` made while HOME was kept.
#[cfg(unix)]
pub(crate) fn check_user(paths: &Paths) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let me = rustix::process::geteuid().as_raw();
    for folder in [&paths.dir, &paths.lima_home(), &paths.log_dir] {
        // The folder, or the nearest one above it that can be seen: a closed folder hides what is in it.
        let Some((at, metadata)) = folder
            .ancestors()
            .find_map(|at| Some((at, at.metadata().ok()?)))
        else {
            continue;
        };
        let owner = metadata.uid();
        let is_closed = rustix::fs::access(at, rustix::fs::Access::WRITE_OK).is_err();
        // Root can write everywhere, and would leave files that the instance's user cannot read.
        let is_root_elsewhere = me == 0 && owner != 0 && at == folder && paths.args_file().exists();
        if (is_closed && owner != me) || is_root_elsewhere {
            let reason = if me == 0 {
                "run rdd as that user, without sudo".to_owned()
            } else {
                format!(
                    "rdd was probably run with sudo, which can keep HOME; take the folder over with: sudo chown -R {me} '{}'",
                    at.display()
                )
            };
            bail!(
                "cannot use {}: it belongs to the user with the uid {owner}, and this command runs with the uid {me}; {reason}",
                at.display()
            );
        }
    }
    Ok(())
}

/// A Windows profile is closed to other users.
#[cfg(not(unix))]
pub(crate) fn check_user(_: &Paths) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        Instance::new("t").unwrap()
    }

    #[test]
    fn folder_that_rdd_makes_is_marked_and_one_with_other_files_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (new, theirs) = (root.path().join("new"), root.path().join("theirs"));
        assert!(claim_folder(&new, &instance(), is_data).unwrap());
        assert!(is_marked(&new, &instance()));
        assert!(!is_marked(&new, &Instance::new("other").unwrap()));

        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("letter"), "").unwrap();
        assert!(!claim_folder(&theirs, &instance(), is_data).unwrap());
        assert_eq!(entries(&theirs).unwrap(), [theirs.join("letter")]);
    }

    #[test]
    fn folder_from_before_there_were_markers_is_recognised_by_its_contents() {
        let root = tempfile::tempdir().unwrap();
        for name in ["args.json", "rdd.db-wal", "start.lock"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        assert!(claim_folder(root.path(), &instance(), is_data).unwrap());
        assert!(is_marked(root.path(), &instance()));
    }

    #[test]
    fn folder_of_another_instance_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let other = Instance::new("other").unwrap();
        assert!(claim_folder(root.path(), &other, is_data).unwrap());
        let error = claim_folder(root.path(), &instance(), is_data)
            .unwrap_err()
            .to_string();
        assert!(error.contains("rancher-desktop-other"), "{error}");
    }
}
