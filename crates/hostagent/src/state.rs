//! What is known about one VM that runs, and the phase that follows from it. Pure: times are given.

use std::time::Instant;

use crate::Limits;
use crate::guest_clock::GuestClock;
use crate::login::{Login, Standing};
use crate::status::Phase;

/// What is known about the VM. Changed by inputs only.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) login: Login,
    pub(crate) boot_id: Option<String>,
    pub(crate) clock: GuestClock,
    /// Questions in a row that an agent which was heard before did not answer.
    pub(crate) unanswered: u32,
    /// What stands between the VM and its user besides the login.
    pub(crate) troubles: Troubles,
}

/// One slot for each kind of trouble, so that each can go by itself.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) disk: Option<String>,
    pub(crate) frozen: Option<String>,
    pub(crate) panicked: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) provisioning: Vec<String>,
}

impl State {
    pub(crate) fn new(now: Instant) -> State {
        State {
            login: Login::new(now),
            boot_id: None,
            clock: GuestClock::default(),
            unanswered: 0,
            troubles: Troubles::default(),
        }
    }

    pub(crate) fn errors(&self, now: Instant, limits: &Limits) -> Vec<String> {
        let Troubles {
            disk,
            frozen,
            panicked,
            agent,
            provisioning,
        } = &self.troubles;
        let mut errors: Vec<String> = [disk, frozen, panicked, agent]
            .into_iter()
            .flatten()
            .chain(self.clock.trouble())
            .cloned()
            .collect();
        if let Standing::Fails(reason) = self.login.standing(now, limits) {
            errors.push(reason);
        }
        errors.extend(provisioning.iter().cloned());
        errors
    }

    pub(crate) fn phase(&self, now: Instant, limits: &Limits) -> Phase {
        match self.login.standing(now, limits) {
            Standing::Booting => Phase::Booting,
            _ if self.errors(now, limits).is_empty() => Phase::Running,
            _ => Phase::Degraded,
        }
    }

    /// The guest begins anew: nothing that was known about it holds.
    pub(crate) fn rebooted(&mut self, now: Instant) {
        self.login = Login::new(now);
        self.clock = GuestClock::default();
        self.unanswered = 0;
        self.troubles = Troubles::default();
    }
}
