//! Watches whether the user can log in: tries a real `ssh … true` when [`LoginSchedule`] says so.

use std::time::Instant;

use async_trait::async_trait;
use guestagent::protocol::Phase;

use super::{Component, Signal, Task, until};
use crate::known_hosts::KnownHosts;
use crate::login_schedule::{LoginError, LoginErrorKind, LoginSchedule, Standing};
use crate::options::Limits;
use crate::ssh_probe::{FIRST_LOGIN, LATER_LOGIN, SshProbe};

/// The component.
#[derive(Debug)]
pub(crate) struct LoginWatch {
    probe: SshProbe,
    known_hosts: KnownHosts,
    schedule: LoginSchedule,
    limits: Limits,
    attempt: Task<Result<(), LoginError>>,
    /// Why the guest's host keys could not be pinned.
    unpinned: Option<String>,
}

impl LoginWatch {
    /// `known_good`: an earlier hostagent logged in to the guest since its boot.
    pub(crate) fn new(
        probe: SshProbe,
        known_hosts: KnownHosts,
        limits: Limits,
        known_good: bool,
    ) -> LoginWatch {
        let now = Instant::now();
        LoginWatch {
            probe,
            known_hosts,
            schedule: if known_good {
                LoginSchedule::known_good(now)
            } else {
                LoginSchedule::new(now)
            },
            limits,
            attempt: Task::none(),
            unpinned: None,
        }
    }

    fn try_login(&mut self) {
        let limit = if self.schedule.has_worked() {
            LATER_LOGIN
        } else {
            FIRST_LOGIN
        };
        let probe = self.probe.clone();
        self.attempt.start(async move { probe.login(limit).await });
    }

    fn handle_result(&mut self, result: Result<(), LoginError>) -> Vec<Signal> {
        match &result {
            Ok(()) => tracing::debug!("logged in"),
            Err(error) => tracing::debug!(error = error.message, "cannot log in"),
        }
        let worked = result.is_ok();
        self.schedule.tried(Instant::now(), result);
        if !worked {
            return Vec::new();
        }
        // From here on a key other than the one of this login is refused.
        if let Err(error) = self.known_hosts.require() {
            tracing::warn!(%error, "other host keys of this guest are not refused yet");
        }
        vec![Signal::LoggedIn]
    }

    fn pin(&mut self, keys: &[String]) {
        self.unpinned = match self.known_hosts.pin(keys) {
            Ok(()) => None,
            Err(error) => Some(format!("cannot pin the guest's ssh host keys: {error}")),
        };
    }
}

#[async_trait]
impl Component for LoginWatch {
    async fn next(&mut self) -> Vec<Signal> {
        let next = self.schedule.next_try(&self.limits);
        let next = next.filter(|_| !self.attempt.is_running());
        let deadline = self.schedule.deadline(&self.limits);
        let deadline = deadline.filter(|at| *at > Instant::now());
        tokio::select! {
            result = self.attempt.finished() => {
                let failed = |error: tokio::task::JoinError| LoginError {
                    kind: LoginErrorKind::Guest,
                    message: error.to_string(),
                };
                self.handle_result(result.unwrap_or_else(|error| Err(failed(error))))
            }
            () = until(next) => {
                self.try_login();
                Vec::new()
            }
            // Only the standing changes.
            () = until(deadline) => Vec::new(),
        }
    }

    fn notify(&mut self, signal: &Signal) -> Vec<Signal> {
        match signal {
            Signal::GuestStatus(status) => {
                let ready = matches!(status.phase, Phase::Ready | Phase::Provisioned);
                if ready && !status.host_keys.is_empty() {
                    self.pin(&status.host_keys);
                }
                self.schedule.agent_reported(ready);
            }
            Signal::GuestRebooted { .. } => {
                self.attempt.abort();
                self.schedule = LoginSchedule::new(Instant::now());
            }
            _ => {}
        }
        Vec::new()
    }

    fn troubles(&self, now: Instant) -> Vec<String> {
        let failed = match self.schedule.standing(now, &self.limits) {
            Standing::Fails(reason) => Some(reason),
            Standing::Booting | Standing::Works => None,
        };
        failed.into_iter().chain(self.unpinned.clone()).collect()
    }

    fn notes(&self) -> Vec<String> {
        let early = self.schedule.early_error();
        early
            .map(|error| format!("no login has worked yet: {error}"))
            .into_iter()
            .collect()
    }

    fn is_booting(&self, now: Instant) -> bool {
        self.schedule.standing(now, &self.limits) == Standing::Booting
    }

    fn stop(&mut self) {
        self.attempt.abort();
    }
}
