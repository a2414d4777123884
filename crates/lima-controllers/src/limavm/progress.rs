//! The progress of a preparation, as one line for the `Created` condition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lima::progress::{Phase, Progress};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The shortest time between two lines. Each is a durable write and an event for every watcher.
const EVERY: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

#[derive(Debug, Default)]
struct Seen {
    phase: Option<Phase>,
    line: Option<String>,
    reported: Option<Instant>,
    warnings: Vec<String>,
}

/// Takes progress from the working thread, and wakes the actor at most once a second.
#[derive(Debug, Clone)]
pub(crate) struct ProgressLine {
    seen: Arc<Mutex<Seen>>,
    wake: Arc<Notify>,
}

impl ProgressLine {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        ProgressLine {
            seen: Arc::default(),
            wake,
        }
    }

    /// The line to show; `None` until something was reported.
    pub(crate) fn line(&self) -> Option<String> {
        self.seen.lock().line.clone()
    }

    /// The warnings for the user; each is returned once.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().warnings)
    }
}

impl Progress for ProgressLine {
    fn report(&self, phase: Phase, _: &str, done: u64, total: Option<u64>) {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let fresh = seen.phase != Some(phase);
        if !fresh
            && seen
                .reported
                .is_some_and(|reported| now.duration_since(reported) < EVERY)
        {
            return;
        }
        seen.phase = Some(phase);
        seen.reported = Some(now);
        let line = text(phase, done, total);
        if seen.line.as_deref() != Some(&line) {
            seen.line = Some(line);
            self.wake.notify_one();
        }
    }

    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
        self.seen.lock().warnings.push(message.to_owned());
    }
}

fn text(phase: Phase, done: u64, total: Option<u64>) -> String {
    let what = match phase {
        Phase::Waiting => "waiting for the image that another VM downloads",
        Phase::Downloading => "downloading image",
        Phase::Verifying => "checking the image's digest",
        Phase::Decompressing => "unpacking image",
        Phase::Copying => "copying image",
        Phase::CreatingDisk => return "creating the disk".into(),
    };
    match total {
        Some(total) if total > 0 => {
            let percent = (u128::from(done.min(total)) * 100) / u128::from(total);
            format!("{what}: {percent} % of {} MiB", total.div_ceil(MIB))
        }
        _ if done > 0 => format!("{what}: {} MiB", done / MIB),
        _ => what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_shows_the_step_and_its_progress() {
        let cases = [
            (
                Phase::Downloading,
                134 * MIB,
                Some(311 * MIB),
                "downloading image: 43 % of 311 MiB",
            ),
            (
                Phase::Downloading,
                5 * MIB,
                None,
                "downloading image: 5 MiB",
            ),
            (
                Phase::Waiting,
                0,
                None,
                "waiting for the image that another VM downloads",
            ),
            (
                Phase::Verifying,
                9,
                Some(0),
                "checking the image's digest: 0 MiB",
            ),
            (Phase::Copying, 12, Some(6), "copying image: 100 % of 1 MiB"),
            (Phase::CreatingDisk, 1, Some(2), "creating the disk"),
        ];
        for (phase, done, total, expected) in cases {
            assert_eq!(text(phase, done, total), expected);
        }
    }

    #[test]
    fn actor_is_woken_for_each_phase_and_not_for_each_block() {
        let wake = Arc::new(Notify::new());
        let line = ProgressLine::new(wake);
        line.report(Phase::Downloading, "u", 0, Some(100 * MIB));
        let first = line.line();
        for done in 1..100 {
            line.report(Phase::Downloading, "u", done * MIB, Some(100 * MIB));
        }
        assert_eq!(line.line(), first, "throttled");
        line.report(Phase::Verifying, "u", 0, None);
        assert_eq!(line.line().as_deref(), Some("checking the image's digest"));
    }
}
