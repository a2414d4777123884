//! The components of a hostagent: each watches one thing about the running VM.
//!
//! | component | watches |
//! |---|---|
//! | [`machine`] | whether the machine executes its guest |
//! | [`disk_space`] | the host's disk: warns before it is full, resumes a guest that was frozen because of it |
//! | [`agent`] | the agent inside the guest |
//! | [`clock`] | the guest's clock |
//! | [`login`] | whether the user can log in |
//! | [`logs`] | the sizes of the VM's logs |
//!
//! The supervisor owns the components and polls them ([`Component::next`]). A component never waits for another one and
//! never changes the VM's status itself: it returns [`Signal`]s, which the supervisor passes to all components and turns
//! into the status. Port forwards, mounts and user probes become further components.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod disk_space;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod machine;

use std::time::Instant;

use async_trait::async_trait;
use driver::RunStatus;
use guestagent::protocol::{GuestStatus, Request};
use tokio::task::{JoinError, JoinHandle};

/// What a component reports to the supervisor and to the other components.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// The machine's status was read; `None` if it did not answer.
    MachineStatus(Option<RunStatus>),
    /// The guest restarts, so what was known about it is stale.
    GuestRebooted {
        /// The cause, for people.
        reason: String,
        /// The boot id of the new boot, if its agent reported the reboot.
        boot_id: Option<String>,
    },
    /// The agent inside the guest reported its status.
    GuestStatus(GuestStatus),
    /// The connection to the guest agent broke.
    GuestDisconnected,
    /// The agent shall be asked for this.
    AskGuest(Request),
    /// A login succeeded.
    LoggedIn,
}

/// One component. All methods but [`Component::next`] return at once.
#[async_trait]
pub(crate) trait Component: Send {
    /// Waits for the component's next input, takes it in, and returns what follows from it. Safe to cancel. Waits for ever
    /// if the component has no further input.
    async fn next(&mut self) -> Vec<Signal>;

    /// Takes in a signal of any component, its own included, and returns what follows from it.
    fn notify(&mut self, _signal: &Signal) -> Vec<Signal> {
        Vec::new()
    }

    /// What is wrong at `now`, a sentence each. A VM with any trouble is `Degraded`.
    fn troubles(&self, _now: Instant) -> Vec<String> {
        Vec::new()
    }

    /// What the user should know although nothing is wrong, a sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the VM is still booting at `now`, as far as this component knows.
    fn is_booting(&self, _now: Instant) -> bool {
        false
    }

    /// Ends what the component runs: the VM is about to be stopped, or left to the next hostagent.
    fn stop(&mut self) {}
}

/// A task of a component, at most one at a time. Aborted when it is replaced or dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Task<T> {
    /// No task.
    pub(crate) fn none() -> Task<T> {
        Task(None)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a task; aborts the one that runs.
    pub(crate) fn start(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.abort();
        self.0 = Some(tokio::spawn(work));
    }

    pub(crate) fn abort(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }

    /// Waits for the task's result; for ever if no task runs. Safe to cancel.
    pub(crate) async fn finished(&mut self) -> Result<T, JoinError> {
        let Some(task) = &mut self.0 else {
            return std::future::pending().await;
        };
        let result = task.await;
        self.0 = None;
        result
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Waits until `when`; for ever if `None`.
pub(crate) async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}
