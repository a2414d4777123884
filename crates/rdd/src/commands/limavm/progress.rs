//! Shows how far a VM is: a line that changes on a terminal, a line for each change elsewhere.

use std::cell::RefCell;
use std::time::Duration;

use api::LimaVM;
use api::lima::condition;
use indicatif::{ProgressBar, ProgressStyle};

use super::wait::Goal;
use crate::logging::RESULT;

/// How often the line moves: it shows that the program lives.
const TICK: Duration = Duration::from_millis(100);

/// The line while nothing can be counted.
const SPINNER: &str = "{spinner} {prefix} {wide_msg} {elapsed}";
/// The line while the message tells how much is done.
const BAR: &str = "{spinner} {prefix} [{bar:30}] {wide_msg} {elapsed}";

/// What a user sees while waiting for one VM.
pub(crate) struct Display {
    name: String,
    bar: ProgressBar,
    last: RefCell<Option<String>>,
}

impl Display {
    /// Shows nothing yet. On standard error; indicatif draws nothing when that is no terminal.
    pub(crate) fn new(name: &str) -> Self {
        let bar = ProgressBar::new(100);
        bar.set_prefix(name.to_owned());
        set_style(&bar, SPINNER);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self {
            name: name.to_owned(),
            bar,
            last: RefCell::new(None),
        }
    }

    /// Shows the condition that matters for the goal.
    pub(crate) fn show(&self, vm: &LimaVM, goal: Goal) {
        self.tell(describe(vm, goal));
    }

    /// Shows that nobody tells how far the VM is.
    pub(crate) fn lost(&self) {
        self.tell(
            "the control plane does not answer; waiting for it, or for `rdd svc start`".to_owned(),
        );
    }

    fn tell(&self, state: String) {
        if self.last.borrow().as_deref() == Some(state.as_str()) {
            return;
        }
        let done = percent(&state);
        if self.bar.is_hidden() {
            // A log needs no line for each percent.
            if done.is_none_or(|done| done % 10 == 0) {
                tracing::info!(target: RESULT, "LimaVM {:?}: {state}", self.name);
            }
        } else {
            set_style(&self.bar, if done.is_some() { BAR } else { SPINNER });
            self.bar.set_position(done.unwrap_or_default());
            self.bar.set_message(state.clone());
        }
        self.last.replace(Some(state));
    }

    /// What was shown last.
    pub(crate) fn last(&self) -> Option<String> {
        self.last.borrow().clone()
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates are ours and right; with a wrong one the bar would look plain.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// The number before the first `%` of a message such as `downloading image: 43 % of 311 MiB`.
fn percent(message: &str) -> Option<u64> {
    let before = message.split_once('%')?.0.trim_end();
    let other = before.trim_end_matches(|c: char| c.is_ascii_digit());
    before[other.len()..]
        .parse()
        .ok()
        .filter(|percent| *percent <= 100)
}

fn describe(vm: &LimaVM, goal: Goal) -> String {
    let created = vm.condition(condition::CREATED);
    let shown = match goal {
        Goal::Deleted => vm.condition(condition::DELETING),
        Goal::Created => created,
        // Until the files are there, they are what one waits for.
        _ if created.is_none_or(|created| created.status != "True") => created,
        _ => vm.condition(condition::RUNNING),
    };
    match shown {
        None => "waiting for the controller".to_owned(),
        Some(condition) if condition.message.is_empty() => condition.reason.clone(),
        Some(condition) => format!("{}: {}", condition.reason, condition.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_tell_how_much_is_done() {
        for (message, done) in [
            ("Pending: downloading image: 43 % of 311 MiB", Some(43)),
            ("100%", Some(100)),
            ("%", None),
            ("copying", None),
            ("400 % of é", None),
            ("é % of 3", None),
        ] {
            assert_eq!(percent(message), done, "{message}");
        }
    }
}
