//! What every command knows: which instance, where its files are, how to log.

use crate::environment::Environment;
use crate::instance::{self, Instance};
use crate::logging::Logging;
use crate::paths::Paths;

/// What every command knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The instance that is meant.
    pub(crate) instance: Instance,
    /// Its files.
    pub(crate) paths: Paths,
    /// The user's environment.
    pub(crate) environment: Environment,
    /// How this process logs, and the processes that it starts.
    pub(crate) logging: Logging,
}

impl Context {
    /// The flag wins over the environment, which wins over the default.
    pub(crate) fn new(
        flag: Option<&str>,
        environment: Environment,
        logging: Logging,
    ) -> anyhow::Result<Self> {
        let name = flag
            .or(environment.instance.as_deref())
            .unwrap_or(instance::DEFAULT);
        let instance = Instance::new(name)?;
        let paths = Paths::new(&instance, &environment);
        Ok(Self {
            instance,
            paths,
            environment,
            logging,
        })
    }

    /// Tells the user what was done to the control plane: `"rancher-desktop-2" control plane …`.
    pub(crate) fn report(&self, what: &str) {
        tracing::info!(target: crate::logging::RESULT, "\"{}\" control plane {what}", self.instance);
    }
}
