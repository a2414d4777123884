//! `rdd limavm delete`.

use std::time::{Duration, Instant};

use anyhow::bail;
use api::LimaVM;
use controller_kit::decoded::Decoded;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use tracing::info;

use super::find::find_opt;
use super::orphan;
use super::power::{change, grace_period};
use super::session::Session;
use super::wait::{self, Goal};
use crate::logging::RESULT;
use crate::service::client::refused;

/// Deletes the VM. Its files are removed before the object is.
pub(crate) async fn run(
    session: &Session<'_>,
    name: &str,
    grace: Option<Duration>,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let Some((api, vm)) = find_opt(&session.client, name).await? else {
        return match orphan::find(session, name)? {
            Some(orphan) => orphan::delete(session, &orphan).await,
            None => bail!("LimaVM {name:?} not found in any namespace"),
        };
    };
    if grace.is_some() {
        // First, so that the stop during the deletion uses it.
        change(&api, &vm, grace_period(grace)).await?;
    }
    // Only this VM, and not another one that has the name now.
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: vm.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    // The answer is the object, which need not fit its type.
    let namespace = vm.namespace().unwrap_or_else(|| "default".to_owned());
    Api::<Decoded<LimaVM>>::namespaced(session.client.clone(), &namespace)
        .delete(name, &parameters)
        .await
        .map_err(refused)?;
    if let Some(deadline) = deadline {
        wait::until(session, &vm, Goal::Deleted, deadline).await?;
        info!(target: RESULT, "LimaVM {name:?} has been deleted");
    } else {
        info!(target: RESULT, "LimaVM {name:?} is being deleted");
    }
    Ok(())
}
