//! The folder of one VM: whether it exists, which template it has, and the work that changes it.
//!
//! A mark in the folder says which template it has: the digest of what the user wrote, not of the template with defaults,
//! because a later rdd with other defaults, or a host with another number of CPUs, must not restart every VM.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostagent::client::{kill, prove_gone};
use lima::image::Cache;
use lima::instance;
use lima::layout::{InstanceDir, LimaHome};
use lima::progress::Cancel;
use lima::template::{Host, Template};
use process::FileLock;
use sha2::{Digest, Sha256};

use super::plan::Files;
use super::progress::ProgressLine;

/// The mark's file name.
const MARK: &str = "template.sha256";
/// A template is written while no process of the VM is alive; a lock that is still held is released within moments.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// How long killing hostagent, machine and all their children may take.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(4);

/// Why a job on the files failed; the message is for the condition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error(transparent)]
    Instance(#[from] instance::InstanceError),
    #[error(transparent)]
    Gone(#[from] hostagent::client::GoneError),
    #[error("cannot write {}: {reason}", path.display())]
    Mark { path: PathBuf, reason: String },
    #[error("the work on the VM's files failed: {0}")]
    Broken(String),
}

/// A template that is ready to be used.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The digest of what the user wrote: template and parameters.
    pub(crate) digest: String,
    /// The template with its defaults filled in, or why it cannot be used.
    pub(crate) template: Result<Arc<Template>, String>,
}

/// The digest of a template with its parameters.
pub(crate) fn digest(text: &str, params: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    // Lengths come first, so that no two inputs give the same bytes.
    let mut add = |part: &str| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(text);
    for (name, value) in params {
        add(name);
        add(value);
    }
    hex::encode(hasher.finalize())
}

/// Parses a template and fills in its defaults.
pub(crate) fn resolve(
    text: &str,
    params: &BTreeMap<String, String>,
    host: &Result<Host, String>,
    dir: &InstanceDir,
) -> Resolved {
    let template = Template::parse(text)
        .map_err(|error| error.to_string())
        .and_then(|parsed| {
            let host = host.as_ref().map_err(Clone::clone)?;
            let mut template = parsed.template;
            template
                .fill_defaults(host, dir, params)
                .map_err(|error| error.to_string())?;
            Ok(Arc::new(template))
        });
    Resolved {
        digest: digest(text, params),
        template,
    }
}

/// Whether an interrupted deletion or preparation of this VM has left files behind.
pub(crate) fn remains(place: &Place) -> bool {
    instance::has_remains(&place.home, place.dir.name())
}

fn mark_path(dir: &InstanceDir) -> PathBuf {
    dir.path().join(MARK)
}

/// The state of the folder. `accepted`: the VM has its name, so the folder is its own.
pub(crate) fn state(dir: &InstanceDir, accepted: bool, wanted: Option<&Resolved>) -> Files {
    if !dir.path().exists() {
        return Files::Absent;
    }
    if !accepted {
        return Files::Foreign;
    }
    let Some(wanted) = wanted.filter(|wanted| wanted.template.is_ok()) else {
        // There is nothing to compare it with.
        return Files::Current;
    };
    match std::fs::read_to_string(mark_path(dir)) {
        Ok(mark) if mark.trim() == wanted.digest => Files::Current,
        Ok(_) => Files::Outdated,
        // After a crash between the folder and its mark nothing runs yet, so writing the template again does no harm.
        Err(error) if error.kind() == ErrorKind::NotFound => Files::Outdated,
        Err(error) => {
            tracing::warn!(%error, "cannot read {}; assuming that the template is current", mark_path(dir).display());
            Files::Current
        }
    }
}

/// Records that the folder has the template with this digest.
pub(crate) fn write_mark(dir: &InstanceDir, digest: &str) -> Result<(), FilesError> {
    let path = mark_path(dir);
    process::file::write_atomic(&path, digest.as_bytes(), 0o600).map_err(|error| FilesError::Mark {
        path,
        reason: error.to_string(),
    })
}

fn remove_mark(dir: &InstanceDir) -> Result<(), FilesError> {
    let path = mark_path(dir);
    process::file::remove_if_there(&path).map_err(|error| FilesError::Mark {
        path,
        reason: error.to_string(),
    })
}

/// Where a VM's files are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: LimaHome,
    pub(crate) cache: Cache,
    pub(crate) dir: InstanceDir,
    /// Where the logs are moved to when the folder is deleted; `None` deletes them.
    pub(crate) kept_logs: Option<PathBuf>,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(FilesError::Broken(error.to_string())),
    }
}

/// Creates the folder.
pub(crate) async fn prepare(
    place: Place,
    template: Arc<Template>,
    digest: String,
    progress: ProgressLine,
    cancel: Cancel,
) -> Result<(), FilesError> {
    blocking(move || {
        let name = place.dir.name();
        instance::prepare(
            &place.home,
            name,
            &template,
            &place.cache,
            &progress,
            &cancel,
        )?;
        write_mark(&place.dir, &digest)?;
        process::crash::point("create.after-mark");
        Ok(())
    })
    .await
}

/// Replaces the template, while no process of the VM is alive.
pub(crate) async fn write_template(
    place: Place,
    template: Arc<Template>,
    digest: String,
) -> Result<(), FilesError> {
    let lock = prove_gone(&place.dir, LOCK_LIMIT).await?;
    process::crash::point("template.after-lock");
    blocking(move || {
        // A folder without a mark is outdated. The old mark must not stay while the template is replaced: after a crash in
        // between it would match again if the user restored the old template.
        remove_mark(&place.dir)?;
        instance::update_template(&place.dir, &template)?;
        process::crash::point("template.after-write");
        write_mark(&place.dir, &digest)?;
        process::crash::point("template.after-mark");
        drop(lock);
        Ok(())
    })
    .await
}

/// Kills hostagent and machine, and proves that they are gone.
pub(crate) async fn end(place: Place) -> Result<FileLock, FilesError> {
    Ok(kill(&place.dir, KILL_LIMIT).await?)
}

/// Deletes the folder, after proving that no process of the VM is alive (hazard 21).
pub(crate) async fn delete(place: Place) -> Result<(), FilesError> {
    if !place.dir.path().exists() {
        // An earlier deletion has proved it already, and no process can be alive without the folder.
        return blocking(move || Ok(instance::delete_remains(&place.home, place.dir.name())?))
            .await;
    }
    let lock = end(place.clone()).await?;
    process::crash::point("delete.after-kill");
    blocking(move || {
        if let Some(folder) = &place.kept_logs {
            instance::keep_logs(&place.dir, folder)?;
        }
        instance::delete(&place.home, &place.dir, lock)?;
        process::crash::point("delete.after-files");
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use driver::qemu::QemuFiles;

    use super::*;

    /// A folder with the mark `old`, and a template to be written into it.
    fn folder() -> (tempfile::TempDir, Place, Arc<Template>) {
        let root = tempfile::tempdir().unwrap();
        let home = LimaHome::new(root.path().join("lima"));
        let dir = InstanceDir::at(home.root.join("vm"), "vm");
        std::fs::create_dir_all(dir.path()).unwrap();
        write_mark(&dir, "old").unwrap();
        let place = Place {
            home,
            cache: Cache::new(root.path().join("cache")),
            dir,
            kept_logs: None,
        };
        let template = Template::parse("images: []").unwrap().template;
        (root, place, Arc::new(template))
    }

    fn files(place: &Place, template: &Arc<Template>) -> Files {
        let wanted = Resolved {
            digest: "old".into(),
            template: Ok(template.clone()),
        };
        state(&place.dir, true, Some(&wanted))
    }

    #[tokio::test]
    async fn h25_interrupted_template_write_leaves_the_folder_outdated() {
        let (_root, place, template) = folder();
        assert_eq!(files(&place, &template), Files::Current);
        // The write fails, because there is no lima.yaml to be replaced.
        let written = write_template(place.clone(), template.clone(), "new".into()).await;
        written.unwrap_err();
        // The user restores the old template.
        assert_eq!(files(&place, &template), Files::Outdated);
    }

    #[tokio::test]
    async fn h21_template_is_not_written_while_a_machine_is_alive_without_hostagent() {
        let (_root, place, template) = folder();
        let machine = FileLock::try_acquire(&QemuFiles::of(&place.dir).lock, "a machine");
        let machine = machine.unwrap().unwrap();
        let written = write_template(place.clone(), template.clone(), "new".into()).await;
        let error = written.unwrap_err();
        assert!(
            matches!(
                error,
                FilesError::Gone(hostagent::client::GoneError::Machine { .. })
            ),
            "{error}"
        );
        assert_eq!(files(&place, &template), Files::Current, "nothing changed");
        drop(machine);
    }

    #[tokio::test]
    async fn h22_remains_of_a_deletion_are_deleted_without_the_folder() {
        let (_root, place, _) = folder();
        assert!(!remains(&place));
        std::fs::rename(place.dir.path(), place.home.root.join(".vm.tmp")).unwrap();
        assert!(remains(&place));
        delete(place.clone()).await.unwrap();
        assert!(!remains(&place) && !place.dir.path().exists());
    }
}
