//! Why a VM has no folder: there is no such VM, or its files could not be made.

use anyhow::anyhow;
use api::lima::condition;

use super::CALLS;
use super::find::find;
use crate::context::Context;
use crate::service::client;
use crate::service::state::State;

/// The error for a command that needs the folder. It does not start the control plane.
pub(super) fn error(context: &Context, name: &str) -> anyhow::Error {
    let declared = State::of(&context.paths)
        .is_ok_and(|state| state.is_running())
        .then(|| ask(context, name));
    match declared {
        Some(Ok(why)) => anyhow!("LimaVM {name:?} has no files yet: {why}"),
        Some(Err(error)) => error,
        None => anyhow!(
            "LimaVM {name:?} not found in any namespace; `rdd limavm list` shows those that exist"
        ),
    }
}

/// The message of the VM's condition; an error if there is no such VM.
fn ask(context: &Context, name: &str) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let asked = async {
            let client = client::connect(context).await?;
            find(&client, name).await
        };
        let (_, vm) = tokio::time::timeout_at(CALLS.deadline().into(), asked).await??;
        Ok(vm.condition(condition::CREATED).map_or_else(
            || "waiting for the controller".to_owned(),
            |created| format!("{}: {}", created.reason, created.message),
        ))
    })
}
