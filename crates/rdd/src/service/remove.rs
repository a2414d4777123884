//! Removes an instance, or what it holds. What rdd did not make is left, and named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use process::FileLock;
use process::lock::LockError;

use crate::context::Context;
use crate::duration::Timeout;
use crate::exit::Failure;
use crate::service::{orphans, other_daemon, ownership, stop};

/// What a removal did, for the user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removal {
    /// Folders and files that are gone.
    pub(crate) removed: Vec<PathBuf>,
    /// What is left because rdd did not make it.
    pub(crate) left: Vec<PathBuf>,
}

/// Stops the daemon and removes its data, its VMs and, unless they are to be kept, its logs. When the deadline passes
/// before the daemon has stopped, everything stays.
pub(crate) fn delete(context: &Context, timeout: Timeout) -> anyhow::Result<Removal> {
    let locks = Quiet::enforce(context, timeout)?;
    process::crash::point("svc.delete.after-stop");
    let gone = orphans::end(&context.paths.lima_home())?;
    process::crash::point("svc.delete.after-vms");
    keep_vm_logs(context)?;
    let mut removal = Removal::default();
    let vms = vms(context, |_| true)?;
    with_locks_in_it(gone, || {
        remove_vms(&vms, &mut removal)?;
        remove_folder(
            context,
            &context.paths.lima_home(),
            ownership::is_in_lima_home,
            &mut removal,
        )?;
        remove_folder(context, &context.paths.short_dir, |_| false, &mut removal)
    })?;
    process::crash::point("svc.delete.after-short-dir");
    if !context.environment.keep_logs {
        remove_logs(context, &mut removal)?;
    }
    // The settings first: an interrupted removal leaves no instance that looks whole.
    process::file::remove_if_there(&context.paths.args_file())?;
    process::crash::point("svc.delete.after-settings");
    for entry in ownership::entries(&context.paths.dir)? {
        // The marker goes last, because it is the proof for what an interrupted removal leaves.
        if !locks.are(&entry) && !entry.ends_with(ownership::MARKER) && ownership::is_data(&entry) {
            remove_all(&entry)?;
        }
    }
    let removed = remove_folder(
        context,
        &context.paths.dir,
        ownership::is_data,
        &mut removal,
    );
    if removed.is_err() {
        // As `with_locks_in_it`, and the folder is empty then, or of a daemon that was started since.
        drop(locks);
        process::file::remove_if_there(&context.paths.dir.join(ownership::MARKER))?;
        process::file::remove_empty_folder(&context.paths.dir).or(removed)?;
        removal.removed.push(context.paths.dir.clone());
    }
    Ok(removal)
}

/// Stops the daemon and removes objects and VMs; keeps settings, certificates and ssh keys. True when it was running.
pub(crate) fn reset(context: &Context, timeout: Timeout) -> anyhow::Result<bool> {
    let locks = Quiet::enforce(context, timeout)?;
    let lima = lima::layout::LimaHome::new(context.paths.lima_home());
    let gone = orphans::end(&lima.root)?;
    keep_vm_logs(context)?;
    let kept = [lima.config_dir(), lima.root.join(ownership::MARKER)];
    let vms = vms(context, |entry| !kept.iter().any(|kept| kept == entry))?;
    with_locks_in_it(gone, || remove_vms(&vms, &mut Removal::default()))?;
    process::crash::point("svc.reset.after-vms");
    let database = context.paths.database();
    store::remove_database(&database)
        .with_context(|| format!("cannot remove the database {}", database.display()))?;
    Ok(locks.was_running)
}

/// An entry of the Lima home that is to be removed.
struct Entry {
    path: PathBuf,
    /// Where it leads if it is a link, and whether that is the folder of a VM.
    target: Option<(PathBuf, bool)>,
}

/// The entries of the Lima home that rdd makes and `chosen` names. They are listed before the first removal, because a
/// folder whose removal failed half way no longer looks like that of a VM.
fn vms(context: &Context, chosen: impl Fn(&Path) -> bool) -> anyhow::Result<Vec<Entry>> {
    let entries = ownership::entries(&context.paths.lima_home())?;
    let removed = entries.into_iter().filter(|entry| {
        chosen(entry) && ownership::is_in_lima_home(entry) && !entry.ends_with(ownership::MARKER)
    });
    let with_target = removed.map(|path| {
        let target = link_target(&path).map(|target| {
            let is_vm = ownership::is_vm(&target);
            (target, is_vm)
        });
        Entry { path, target }
    });
    Ok(with_target.collect())
}

/// Removes the entries. The folder of a VM can be a link to another disk; then what it leads to is removed as well.
fn remove_vms(entries: &[Entry], removal: &mut Removal) -> anyhow::Result<()> {
    for entry in entries {
        match &entry.target {
            Some((target, true)) => {
                remove_all(target)?;
                name_once(&mut removal.removed, target);
            }
            Some((target, false)) => name_once(&mut removal.left, target),
            None => {}
        }
        remove_all(&entry.path)?;
    }
    Ok(())
}

/// Adds a path, unless an earlier attempt of the removal has.
fn name_once(paths: &mut Vec<PathBuf>, path: &Path) {
    if !paths.iter().any(|known| known == path) {
        paths.push(path.to_owned());
    }
}

/// Removes a folder that rdd made, with all that is in it. Of another one, the entries that `is_known` names, and the
/// folder itself when nothing is left in it. Of a link, what it leads to and then the link.
fn remove_folder(
    context: &Context,
    folder: &Path,
    is_known: fn(&Path) -> bool,
    removal: &mut Removal,
) -> anyhow::Result<()> {
    if folder.symlink_metadata().is_err() {
        return Ok(());
    }
    let target = link_target(folder);
    let real = target.as_deref().unwrap_or(folder);
    if ownership::is_marked(real, &context.instance) {
        remove_all(real)?;
    } else {
        for entry in ownership::entries(real)? {
            if is_known(&entry) {
                remove_all(&entry)?;
            }
        }
        if !ownership::entries(real)?.is_empty() {
            removal.left.push(real.to_owned());
            return Ok(());
        }
        // A folder that the user made for a link stays; it is empty now.
        if target.is_none() {
            process::file::remove_empty_folder(real)?;
        }
    }
    // What was in it went with it.
    removal.removed.retain(|path| !path.starts_with(folder));
    removal.removed.push(folder.to_owned());
    if let Some(target) = target {
        removal.removed.push(target);
        remove_all(folder)?;
    }
    Ok(())
}

/// Where a link leads; nothing for what is no link, or leads nowhere.
fn link_target(path: &Path) -> Option<PathBuf> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => path.canonicalize().ok(),
        _ => None,
    }
}

/// Removes the instance's logs. A folder that `RDD_LOG_DIR` names goes only when rdd made it and nothing else is in it.
fn remove_logs(context: &Context, removal: &mut Removal) -> anyhow::Result<()> {
    let folder = &context.paths.log_dir;
    if context.paths.log_dir_is_default {
        return remove_folder(context, folder, ownership::is_log, removal);
    }
    let made_by_rdd = ownership::is_marked(folder, &context.instance);
    for entry in ownership::entries(folder)? {
        if ownership::is_log(&entry) {
            remove_all(&entry)?;
        }
    }
    if made_by_rdd && ownership::entries(folder)?.is_empty() {
        process::file::remove_empty_folder(folder)?;
        removal.removed.push(folder.clone());
    }
    Ok(())
}

/// Removes folders in which this process holds locks. Where the name of a removed file stays until no process has it
/// open (NFS, Windows on other file systems than NTFS), the locks have to go before their folders can.
fn with_locks_in_it(
    locks: Vec<FileLock>,
    mut remove: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let removed = remove();
    drop(locks);
    removed.or_else(|_| remove())
}

/// Moves the VMs' logs out of the folders that are about to go, when they are to be kept.
fn keep_vm_logs(context: &Context) -> anyhow::Result<()> {
    if !context.environment.keep_logs {
        return Ok(());
    }
    let home = lima::layout::LimaHome::new(context.paths.lima_home());
    for vm in lima::instance::list(&home)? {
        lima::instance::keep_logs(&vm, &context.paths.kept_vm_logs())?;
    }
    Ok(())
}

/// The proof that no daemon runs and none starts: this process holds both locks.
struct Quiet {
    start: FileLock,
    daemon: FileLock,
    was_running: bool,
}

impl Quiet {
    fn enforce(context: &Context, timeout: Timeout) -> anyhow::Result<Self> {
        ownership::check_user(&context.paths)?;
        let deadline = timeout.deadline();
        process::file::create_private_dir(&context.paths.dir)?;
        let label = format!("a command that removes {}", context.instance);
        let start = acquire(&context.paths.start_lock(), &label, deadline)?;
        let was_running = stop::stop(context, None, true, deadline)?;
        let daemon = acquire(&context.paths.lock(), &label, deadline)?;
        other_daemon::refuse(context)?;
        Ok(Self {
            start,
            daemon,
            was_running,
        })
    }

    fn are(&self, path: &Path) -> bool {
        path == self.start.path() || path == self.daemon.path()
    }
}

fn acquire(path: &Path, label: &str, deadline: Instant) -> anyhow::Result<FileLock> {
    FileLock::acquire(path, label, deadline).map_err(|error| match error {
        LockError::TimedOut { .. } => Failure::deadline(error).into(),
        error => error.into(),
    })
}

/// Removes a file or a folder with all that is in it, following no link. Gone is success (hazard 4).
fn remove_all(path: &Path) -> anyhow::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => bail!(
            "cannot remove {}: {error}; remove it by hand and run the command again",
            path.display()
        ),
    }
}
