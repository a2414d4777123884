//! Which controllers work.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The state of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not read all its objects yet.
    Starting,
    /// It works.
    Ready,
    /// It panicked or returned, and runs again after a pause.
    Failed {
        /// Why, and when it runs again.
        reason: String,
    },
}

/// The states of all controllers of a manager. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct Health(watch::Sender<BTreeMap<&'static str, State>>);

impl Health {
    pub(crate) fn new(controllers: impl Iterator<Item = &'static str>) -> Health {
        let starting = controllers.map(|name| (name, State::Starting)).collect();
        Health(watch::Sender::new(starting))
    }

    /// The state of each controller.
    pub fn states(&self) -> BTreeMap<&'static str, State> {
        self.0.borrow().clone()
    }

    /// `Ok` when every controller works; otherwise one line that names those that do not, and why.
    ///
    /// # Errors
    /// A controller is starting or has failed.
    pub fn check(&self) -> Result<(), String> {
        let problems: Vec<String> = self
            .0
            .borrow()
            .iter()
            .filter_map(|(name, state)| match state {
                State::Ready => None,
                State::Starting => Some(format!("controller {name} is starting")),
                State::Failed { reason } => Some(format!("controller {name} failed: {reason}")),
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("; "))
        }
    }

    /// Waits until every controller works. Cancel safe.
    pub async fn all_ready(&self) {
        let mut states = self.0.subscribe();
        let ready =
            |states: &BTreeMap<_, State>| states.values().all(|state| *state == State::Ready);
        // It cannot fail: `self` holds the sender.
        let _ = states.wait_for(ready).await;
    }

    pub(crate) fn reporter(&self, controller: &'static str) -> Reporter {
        Reporter {
            health: self.clone(),
            controller,
        }
    }
}

/// Sets the state of one controller.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    health: Health,
    controller: &'static str,
}

impl Reporter {
    pub(crate) fn ready(&self) {
        self.set(State::Ready);
    }

    pub(crate) fn failed(&self, reason: String) {
        self.set(State::Failed { reason });
    }

    fn set(&self, state: State) {
        self.health.0.send_if_modified(|states| {
            let old = states.insert(self.controller, state.clone());
            old != Some(state)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_the_controllers_that_do_not_work() {
        let health = Health::new(["a", "b", "c"].into_iter());
        health.reporter("a").ready();
        health.reporter("c").failed("panicked".into());
        let problems = health.check().unwrap_err();
        assert_eq!(
            problems,
            "controller b is starting; controller c failed: panicked"
        );
        health.reporter("b").ready();
        health.reporter("c").ready();
        assert_eq!(health.check(), Ok(()));
    }
}
