//! A command's connection to the control plane, which may be replaced while the command waits.

use kube::{Api, Client, ResourceExt as _};

use api::LimaVM;

use crate::context::Context;
use crate::service::client;
use crate::service::state::State;

/// The instance that a command talks to, and the client for it.
#[derive(Clone)]
pub(crate) struct Session<'a> {
    /// The instance.
    pub(crate) context: &'a Context,
    /// The client of its API.
    pub(crate) client: Client,
}

impl Session<'_> {
    /// The API of the namespace that this VM is in.
    pub(crate) fn api_of(&self, vm: &LimaVM) -> Api<LimaVM> {
        let namespace = vm.namespace().unwrap_or_else(|| "default".to_owned());
        Api::namespaced(self.client.clone(), &namespace)
    }

    /// Connects to the control plane again, which can have another port now. Returns true once one is ready. It starts
    /// none, because the user may have stopped it deliberately.
    pub(crate) async fn reconnect(&mut self) -> anyhow::Result<bool> {
        let State::Ready(ready) = State::of(&self.context.paths)? else {
            return Ok(false);
        };
        ready.compatible(&self.context.instance)?;
        self.client = client::open(self.context).await?;
        Ok(true)
    }
}
