//! Shows the progress of a VM: one changing line on a terminal, a line for each change elsewhere.

use std::cell::RefCell;
use std::time::Duration;

use api::LimaVM;
use api::lima::condition;
use indicatif::{ProgressBar, ProgressStyle};

use super::wait::Goal;
use crate::logging::RESULT;

/// How often the spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// The line without a percentage.
const SPINNER: &str = "{spinner} {prefix} {wide_msg} {elapsed}";
/// The line for a message with a percentage.
const BAR: &str = "{spinner} {prefix} [{bar:30}] {wide_msg} {elapsed}";

/// The progress line of one VM.
pub(crate) struct Display {
    name: String,
    bar: ProgressBar,
    last: RefCell<Option<String>>,
}

impl Display {
    /// Creates a line on standard error that shows nothing yet. indicatif draws only on a terminal.
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

    /// Shows the condition that is relevant for the goal.
    pub(crate) fn show(&self, vm: &LimaVM, goal: Goal) {
        self.tell(describe(vm, goal));
    }

    /// Shows that the control plane does not answer.
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
            // A log does not need a line for each percent.
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

    /// The last text that was shown.
    pub(crate) fn last(&self) -> Option<String> {
        self.last.borrow().clone()
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates are constants. With an invalid one the bar has indicatif's default style.
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
        // Until the files exist, their condition is the relevant one.
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
    fn percentage_is_found_in_a_message() {
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
