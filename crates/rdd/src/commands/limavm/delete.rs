//! `rdd limavm delete`.

use std::time::Instant;

use kube::api::{DeleteParams, Preconditions};
use kube::{Client, ResourceExt as _};
use tracing::info;

use super::find::find;
use super::wait::{self, Goal};
use crate::logging::RESULT;
use crate::service::client::refused;

/// Deletes the VM; its files go before the object does.
pub(crate) async fn run(
    client: &Client,
    name: &str,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let (api, vm) = find(client, name).await?;
    // The VM that was found, not another one that took its name meanwhile.
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: vm.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    api.delete(name, &parameters).await.map_err(refused)?;
    if let Some(deadline) = deadline {
        wait::until(&api, &vm, Goal::Deleted, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has been deleted");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is being deleted");
    }
    Ok(())
}
