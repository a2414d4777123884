//! Keeps the logs of a running VM small: what the guest prints must not fill the host's disk.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Component, Signal};
use crate::log_rotation::cut;

/// How often the sizes are read. A guest prints at most some megabytes a second.
const CHECK: Duration = Duration::from_secs(2);
/// A log that is longer is moved to its second name, and starts again.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The component.
#[derive(Debug)]
pub(crate) struct LogSizes {
    logs: Vec<PathBuf>,
    checks: Interval,
}

impl LogSizes {
    pub(crate) fn new(logs: Vec<PathBuf>) -> LogSizes {
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        LogSizes { logs, checks }
    }
}

#[async_trait]
impl Component for LogSizes {
    async fn next(&mut self) -> Vec<Signal> {
        self.checks.tick().await;
        for log in &self.logs {
            // At most a few megabytes are copied, and only when the log has grown by that much.
            if let Err(error) = cut(log, LIMIT) {
                tracing::warn!(%error, log = %log.display(), "cannot shorten a log");
            }
        }
        Vec::new()
    }
}
