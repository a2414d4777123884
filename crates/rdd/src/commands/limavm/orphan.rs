//! VM folders that belong to no LimaVM: `rdd limavm adopt`, and `rdd limavm delete` for them.

use std::time::Duration;

use anyhow::{Context as _, bail};
use hostagent::client::{kill, observe};
use kube::ResourceExt as _;
use lima::layout::LimaHome;
use lima_controllers::adopt::{self, Orphan};
use tracing::info;

use super::find::find_opt;
use super::session::Session;
use crate::logging::RESULT;

/// How long killing a VM's processes may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The folder of this name, if it belongs to no LimaVM. The caller has found that there is no LimaVM of this name.
pub(super) fn find(session: &Session<'_>, name: &str) -> anyhow::Result<Option<Orphan>> {
    let home = LimaHome::new(session.context.paths.lima_home());
    let orphans = adopt::orphans(&home, |known| known != name)?;
    Ok(orphans.into_iter().next())
}

/// Recreates the LimaVM of a folder.
pub(super) async fn adopt(session: &Session<'_>, name: &str) -> anyhow::Result<()> {
    if let Some((_, vm)) = find_opt(&session.client, name).await? {
        bail!(
            "LimaVM {name:?} exists in namespace {:?}; only a folder without a LimaVM can be adopted",
            vm.namespace().unwrap_or_default()
        );
    }
    let Some(orphan) = find(session, name)? else {
        let home = session.context.paths.lima_home();
        bail!("there is no VM folder {name:?} in {}", home.display());
    };
    let is_running = observe(&orphan.dir).await.machine != driver::MachineState::Absent;
    let vm = adopt::adopt(&session.client, &orphan, is_running).await?;
    info!(target: RESULT, "LimaVM {name:?} adopted in namespace {:?}", vm.namespace().unwrap_or_default());
    Ok(())
}

/// Kills what runs in the folder, and deletes it with the disk.
pub(super) async fn delete(session: &Session<'_>, orphan: &Orphan) -> anyhow::Result<()> {
    let (dir, name) = (&orphan.dir, orphan.dir.name());
    let lock = kill(dir, KILL_LIMIT)
        .await
        .with_context(|| format!("cannot delete {}", dir.path().display()))?;
    let home = LimaHome::new(session.context.paths.lima_home());
    lima::instance::delete(&home, dir, lock)?;
    info!(target: RESULT, "the VM folder {name:?}, which belonged to no LimaVM, has been deleted");
    Ok(())
}
