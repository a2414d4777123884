//! The context of every command: the instance, its files and how to log.

use crate::environment::Environment;
use crate::instance::{self, Instance};
use crate::logging::Logging;
use crate::paths::Paths;

/// The context of a command.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The instance that the command works on.
    pub(crate) instance: Instance,
    /// Its files.
    pub(crate) paths: Paths,
    /// The user's environment.
    pub(crate) environment: Environment,
    /// How this process and the processes that it starts log.
    pub(crate) logging: Logging,
}

impl Context {
    /// The instance is the one of the flag, else of the environment, else the default.
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

    /// Reports what happened to the control plane: `"rancher-desktop-2" control plane …`.
    pub(crate) fn report(&self, what: &str) {
        tracing::info!(target: crate::logging::RESULT, "\"{}\" control plane {what}", self.instance);
    }
}
