//! A command's connection to the control plane, which may be replaced while the command waits.

use kube::{Api, Client, ResourceExt as _};

use api::LimaVM;

use crate::context::Context;
use crate::service::client;
use crate::service::state::State;

/// The instance that a command talks to, and how.
#[derive(Clone)]
pub(crate) struct Session<'a> {
    /// Whose control plane it is.
    pub(crate) context: &'a Context,
    /// The way to it.
    pub(crate) client: Client,
}

impl Session<'_> {
    /// The API of the namespace that this VM is in.
    pub(crate) fn api_of(&self, vm: &LimaVM) -> Api<LimaVM> {
        let namespace = vm.namespace().unwrap_or_else(|| "default".to_owned());
        Api::namespaced(self.client.clone(), &namespace)
    }

    /// Finds the control plane again, which may have another port by now. True once one is ready; none is started: who
    /// stopped it has a reason.
    pub(crate) async fn reconnect(&mut self) -> anyhow::Result<bool> {
        let State::Ready(ready) = State::of(&self.context.paths)? else {
            return Ok(false);
        };
        ready.compatible(&self.context.instance)?;
        self.client = client::open(self.context).await?;
        Ok(true)
    }
}
