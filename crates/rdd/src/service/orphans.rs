//! Orphans: VMs whose daemon was killed, when the instance is removed.
//!
//! A daemon that stops by itself stops its VMs. The VMs that are left are killed without a shutdown of the guest,
//! because their disks are about to be removed. A folder is removed only after its VM is known to be gone (hazard 21).

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join_all;
use hostagent::client;
use lima::layout::LimaHome;
use process::FileLock;

/// How long killing one VM may take; all are killed at the same time (hazard 31).
const LIMIT: Duration = Duration::from_secs(20);

/// Kills every VM in the Lima home. The returned locks prevent new starts.
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
    // Folders whose names begin with `_` are no VMs; `instance` refuses such names.
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
        .context("a VM could not be killed, so none of its files was removed")
}
