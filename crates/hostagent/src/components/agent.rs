//! Watches the agent inside the guest: takes its messages, and asks it at each health check.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use guestagent::protocol::{GuestStatus, Request};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::{Component, Signal, Task};
use crate::guest_channel::{GuestChannel, GuestError, GuestNews};

/// Unanswered requests in a row that are tolerated before the agent counts as hung: one may be due to a guest under load.
const TOLERATED: u32 = 1;
/// The note for the user of a guest without our agent. It is not a trouble, because everything else works.
const NO_AGENT: &str = "the guest has no agent of rdd: an NTP service inside has to set its clock after this host slept, and a stop relies on its power button";

/// The component.
#[derive(Debug)]
pub(crate) struct AgentWatch {
    guest: GuestChannel,
    news: mpsc::Receiver<GuestNews>,
    checks: Interval,
    /// The next request, sent once the request before has an answer or has timed out.
    pending: Option<Request>,
    request: Task<Result<GuestStatus, GuestError>>,
    /// The boot id of the guest, once its agent reported it.
    boot_id: Option<String>,
    /// Whether the agent has sent a status since the guest booted.
    has_reported: bool,
    /// Whether a login has worked since the guest booted.
    logged_in: bool,
    /// Requests in a row without an answer.
    unanswered: u32,
    hung: Option<String>,
    /// What went wrong inside the guest, as its agent reports it.
    failures: Vec<String>,
    missing: bool,
}

impl AgentWatch {
    /// `boot_id` and `logged_in`: what an earlier hostagent knew about the guest. `health`: how often the agent is asked.
    pub(crate) fn new(
        (guest, news): (GuestChannel, mpsc::Receiver<GuestNews>),
        boot_id: Option<String>,
        logged_in: bool,
        health: Duration,
    ) -> AgentWatch {
        // The first check is later, because a live agent needs a moment to send its status to a hostagent that just adopted the VM.
        let mut checks = interval_at(tokio::time::Instant::now() + health, health);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        AgentWatch {
            guest,
            news,
            checks,
            pending: None,
            request: Task::none(),
            boot_id,
            has_reported: false,
            logged_in,
            unanswered: 0,
            hung: None,
            failures: Vec::new(),
            missing: false,
        }
    }

    fn ask(&mut self, request: Request) {
        match request {
            Request::Status => {
                self.pending.get_or_insert(request);
            }
            // The answer to any other request also has the status.
            other => self.pending = Some(other),
        }
        self.send_next();
    }

    fn send_next(&mut self) {
        if !self.request.is_running()
            && let Some(request) = self.pending.take()
        {
            let guest = self.guest.clone();
            self.request.start(async move { guest.ask(request).await });
        }
    }

    fn handle_status(&mut self, status: GuestStatus) -> Vec<Signal> {
        let rebooted = self
            .boot_id
            .as_ref()
            .is_some_and(|known| *known != status.boot_id);
        self.boot_id = Some(status.boot_id.clone());
        let mut signals = Vec::new();
        if rebooted {
            // The machine's own event usually comes first, unless no hostagent was running then.
            signals.push(Signal::GuestRebooted {
                reason: "reported by its agent".into(),
                boot_id: Some(status.boot_id.clone()),
            });
        }
        signals.push(Signal::GuestStatus(status));
        signals
    }

    /// Hazard 30: reports an agent that hangs; the request runs in its own task, so it delays nothing else.
    fn handle_answer(&mut self, answer: Result<GuestStatus, GuestError>) {
        // The channel also sends the status of a successful answer as news.
        let Err(error) = answer else { return };
        tracing::debug!(%error, "the guest agent");
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered > TOLERATED && self.has_reported {
            self.hung = Some(error.to_string());
        }
    }

    fn check(&mut self) {
        if self.has_reported {
            self.ask(Request::Status);
        } else {
            self.missing = self.logged_in;
        }
    }
}

#[async_trait]
impl Component for AgentWatch {
    async fn next(&mut self) -> Vec<Signal> {
        tokio::select! {
            Some(news) = self.news.recv() => match news {
                GuestNews::Status(status) => self.handle_status(status),
                GuestNews::Lost => vec![Signal::GuestDisconnected],
            },
            answer = self.request.finished() => {
                self.handle_answer(answer.unwrap_or(Err(GuestError::Broken)));
                self.send_next();
                Vec::new()
            }
            _ = self.checks.tick() => {
                self.check();
                Vec::new()
            }
        }
    }

    fn notify(&mut self, signal: &Signal) -> Vec<Signal> {
        match signal {
            Signal::GuestRebooted { boot_id, .. } => {
                self.boot_id.clone_from(boot_id);
                self.has_reported = false;
                self.logged_in = false;
                self.missing = false;
                self.unanswered = 0;
                self.hung = None;
                self.failures.clear();
            }
            Signal::GuestStatus(status) => {
                self.has_reported = true;
                self.missing = false;
                self.unanswered = 0;
                self.hung = None;
                self.failures.clone_from(&status.failures);
            }
            Signal::AskGuest(request) => self.ask(request.clone()),
            Signal::LoggedIn => self.logged_in = true,
            Signal::MachineStatus(_) | Signal::GuestDisconnected => {}
        }
        Vec::new()
    }

    fn troubles(&self, _now: Instant) -> Vec<String> {
        self.hung.iter().chain(&self.failures).cloned().collect()
    }

    fn notes(&self) -> Vec<String> {
        self.missing
            .then(|| NO_AGENT.to_owned())
            .into_iter()
            .collect()
    }

    fn stop(&mut self) {
        self.request.abort();
    }
}
