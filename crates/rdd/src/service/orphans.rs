//! VMs that nobody keeps any more: their daemon was killed, and now they are to be removed.
//!
//! A daemon that stops in good order has stopped its VMs. What is left after that is ended without asking the guest,
//! since its disk is about to be removed, and proved to be gone before its folder is (hazard 21).

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join_all;
use hostagent::client;
use lima::layout::LimaHome;
use process::FileLock;

/// How long the end of one VM may take; all end at once (hazard 31).
const LIMIT: Duration = Duration::from_secs(20);

/// Ends every VM below the Lima home. The locks that are returned keep new ones from starting.
pub(super) fn end(lima_home: &Path) -> anyhow::Result<Vec<FileLock>> {
    let home = LimaHome::new(lima_home);
    let entries = match std::fs::read_dir(lima_home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot list the VMs in {}", lima_home.display()));
        }
    };
    // Folders that begin with `_` are no VMs, and have no valid name.
    let vms: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| home.instance(entry.file_name().to_str()?).ok())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(try_join_all(vms.iter().map(|vm| client::kill(vm, LIMIT))))
        .context("a VM could not be ended, so nothing of it was removed")
}
