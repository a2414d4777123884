//! Removes an instance, or what it holds.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use process::FileLock;
use process::lock::LockError;

use crate::context::Context;
use crate::duration::Timeout;
use crate::exit::Failure;
use crate::log_file;
use crate::service::{orphans, stop};

/// Whether there is anything of the instance but logs.
pub(crate) fn exists(context: &Context) -> bool {
    context.paths.dir.exists() || context.paths.short_dir.exists()
}

/// Stops the daemon and removes its data, its VMs and, unless they are to be kept, its logs. When the deadline passes
/// before the daemon has stopped, everything stays.
pub(crate) fn delete(context: &Context, timeout: Timeout) -> anyhow::Result<()> {
    let locks = Quiet::enforce(context, timeout)?;
    process::crash::point("svc.delete.after-stop");
    let gone = orphans::end(&context.paths.lima_home())?;
    process::crash::point("svc.delete.after-vms");
    keep_vm_logs(context)?;
    with_locks_in_it(gone, || remove_all(&context.paths.short_dir))?;
    process::crash::point("svc.delete.after-short-dir");
    if !context.environment.keep_logs {
        remove_logs(context)?;
    }
    // The settings first: an interrupted removal leaves no instance that looks whole.
    process::file::remove_if_there(&context.paths.args_file())?;
    process::crash::point("svc.delete.after-settings");
    for entry in list(&context.paths.dir)? {
        if !locks.are(&entry) {
            remove_all(&entry)?;
        }
    }
    let removed = remove_all(&context.paths.dir);
    if removed.is_ok() {
        return Ok(());
    }
    // As `with_locks_in_it`, and the folder is empty then, or of somebody who began anew since.
    drop(locks);
    process::file::remove_empty_folder(&context.paths.dir).or(removed)
}

/// Stops the daemon and removes objects and VMs; keeps settings, certificates and ssh keys. True when it was running.
pub(crate) fn reset(context: &Context, timeout: Timeout) -> anyhow::Result<bool> {
    let locks = Quiet::enforce(context, timeout)?;
    let lima = lima::layout::LimaHome::new(context.paths.lima_home());
    let gone = orphans::end(&lima.root)?;
    keep_vm_logs(context)?;
    with_locks_in_it(gone, || {
        for entry in list(&lima.root)? {
            if entry != lima.config_dir() {
                remove_all(&entry)?;
            }
        }
        Ok(())
    })?;
    process::crash::point("svc.reset.after-vms");
    let database = context.paths.database();
    store::remove_database(&database)
        .with_context(|| format!("cannot remove the database {}", database.display()))?;
    Ok(locks.was_running)
}

/// Removes folders in which we hold locks. Where the name of a removed file stays until nobody has it open (NFS, Windows
/// on other file systems than NTFS), the locks have to go before their folders can.
fn with_locks_in_it(
    locks: Vec<FileLock>,
    remove: impl Fn() -> anyhow::Result<()>,
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

/// The proof that no daemon runs and none starts: both locks are ours.
struct Quiet {
    start: FileLock,
    daemon: FileLock,
    was_running: bool,
}

impl Quiet {
    fn enforce(context: &Context, timeout: Timeout) -> anyhow::Result<Self> {
        let deadline = timeout.deadline();
        process::file::create_private_dir(&context.paths.dir)?;
        let label = format!("a command that removes {}", context.instance);
        let start = acquire(&context.paths.start_lock(), &label, deadline)?;
        let was_running = stop::stop(context, None, true, deadline)?;
        let daemon = acquire(&context.paths.lock(), &label, deadline)?;
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

/// Removes our logs, and their folder when nothing else is in it: the user may have chosen a folder that holds more.
fn remove_logs(context: &Context) -> anyhow::Result<()> {
    let folder = &context.paths.log_dir;
    if context.paths.log_dir_is_ours {
        return remove_all(folder);
    }
    for log in [context.paths.stdout_log(), context.paths.stderr_log()] {
        let backups = log_file::backups(&log)
            .with_context(|| format!("cannot list the logs in {}", folder.display()))?;
        for (_, backup) in backups {
            process::file::remove_if_there(&backup)?;
        }
        process::file::remove_if_there(&log)?;
    }
    match fs::remove_dir(folder) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(error).with_context(|| format!("cannot remove the folder {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn list(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
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
