//! A background job. A VM has at most one, because it owns the VM's files.

use std::time::Duration;

use lima::progress::Cancel;
use tokio::task::JoinHandle;

use super::files::FilesError;
use super::plan::Job;
use super::progress::ProgressLine;

/// A job that runs.
pub(super) struct Running {
    kind: Job,
    cancel: Cancel,
    progress: Option<ProgressLine>,
    task: JoinHandle<Result<(), FilesError>>,
}

/// How a job ended.
pub(super) struct Outcome {
    pub(super) kind: Job,
    pub(super) cancelled: bool,
    pub(super) warnings: Vec<String>,
    pub(super) result: Result<(), FilesError>,
}

impl Running {
    pub(super) fn start(
        kind: Job,
        cancel: Cancel,
        progress: Option<ProgressLine>,
        work: impl Future<Output = Result<(), FilesError>> + Send + 'static,
    ) -> Running {
        Running {
            kind,
            cancel,
            progress,
            task: tokio::spawn(work),
        }
    }

    pub(super) fn kind(&self) -> Job {
        self.kind
    }

    /// Its progress, for people.
    pub(super) fn progress(&self) -> Option<String> {
        self.progress.as_ref()?.line()
    }

    /// Cancels it; it ends a moment later.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits for the job's end and removes it from `slot`; for ever when there is none. Cancel safe.
    pub(super) async fn ended(slot: &mut Option<Running>) -> Outcome {
        let Some(running) = slot else {
            return std::future::pending().await;
        };
        let result = match (&mut running.task).await {
            Ok(result) => result,
            Err(error) => Err(FilesError::Broken(error.to_string())),
        };
        let outcome = Outcome {
            kind: running.kind,
            cancelled: running.cancel.is_cancelled(),
            warnings: running
                .progress
                .as_ref()
                .map(ProgressLine::take_warnings)
                .unwrap_or_default(),
            result,
        };
        *slot = None;
        outcome
    }

    /// Cancels it and waits for its end, at most for `limit`. A job that takes longer goes on in the background and does no
    /// harm.
    pub(super) async fn abandon(self, limit: Duration) {
        self.cancel.cancel();
        if tokio::time::timeout(limit, self.task).await.is_err() {
            tracing::warn!(kind = ?self.kind, "background work has not ended {} s after it was cancelled", limit.as_secs());
        }
    }
}
