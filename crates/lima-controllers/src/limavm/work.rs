//! The background work on a VM's files: at most one job at a time, with its back-off and its failures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::lima::reason;
use controller_kit::back_off::BackOff;
use lima::progress::Cancel;
use lima::template::Template;
use tokio::sync::Notify;

use super::files::{self, Place};
use super::job::{Outcome, Running};
use super::limits::LONGEST_FILES;
use super::plan::{Action, Job};
use super::progress::ProgressLine;

/// The jobs of one actor.
#[derive(Default)]
pub(super) struct Work {
    job: Option<Running>,
    back_off: BackOff,
    failures: Failures,
}

/// The last failure of each kind of job, until one of that kind succeeds.
#[derive(Debug, Default, Clone)]
pub(super) struct Failures {
    /// Why the files could not be created or changed.
    pub(super) files: Option<String>,
    /// Why hostagent and machine could not be killed.
    pub(super) stop: Option<String>,
    /// Why the files could not be deleted.
    pub(super) delete: Option<String>,
}

/// A job that has ended.
pub(super) struct Ended {
    pub(super) kind: Job,
    /// Warnings of the template, for the user.
    pub(super) warnings: Vec<String>,
    /// Why it failed; `None` if it succeeded or was cancelled.
    pub(super) failure: Option<String>,
    pub(super) succeeded: bool,
}

impl Work {
    /// Starts the job that `action` asks for; whether a job runs now.
    pub(super) fn start(
        &mut self,
        action: Action,
        place: &Place,
        template: Option<(Arc<Template>, String)>,
        wake: &Arc<Notify>,
    ) -> bool {
        let place = place.clone();
        let cancel = Cancel::new();
        let job = match (action, template) {
            (Action::Prepare, Some((template, digest))) => {
                let progress = ProgressLine::new(Arc::clone(wake));
                let work =
                    files::prepare(place, template, digest, progress.clone(), cancel.clone());
                Running::start(Job::Prepare, cancel, Some(progress), work)
            }
            (Action::WriteTemplate, Some((template, digest))) => {
                let work = files::write_template(place, template, digest);
                Running::start(Job::WriteTemplate, cancel, None, work)
            }
            (Action::Kill, _) => {
                let work = async move { files::end(place).await.map(drop) };
                Running::start(Job::Kill, cancel, None, work)
            }
            (Action::DeleteFiles, _) => {
                Running::start(Job::DeleteFiles, cancel, None, files::delete(place))
            }
            _ => return false,
        };
        self.job = Some(job);
        true
    }

    /// The kind of the job that runs.
    pub(super) fn job(&self) -> Option<Job> {
        self.job.as_ref().map(Running::kind)
    }

    /// The progress of the job that runs.
    pub(super) fn progress(&self) -> Option<String> {
        self.job.as_ref().and_then(Running::progress)
    }

    /// Cancels the job that runs; it ends a moment later.
    pub(super) fn cancel(&self) {
        if let Some(job) = &self.job {
            job.cancel();
        }
    }

    /// Waits for the end of the job; for ever while none runs. Cancel safe.
    pub(super) async fn ended(&mut self) -> Ended {
        let outcome = Running::ended(&mut self.job).await;
        self.judge(outcome, Instant::now())
    }

    /// Updates failures and back-off.
    fn judge(&mut self, outcome: Outcome, now: Instant) -> Ended {
        let kind = outcome.kind;
        let mut ended = Ended {
            kind,
            warnings: outcome.warnings,
            failure: None,
            succeeded: outcome.result.is_ok(),
        };
        match outcome.result {
            Ok(()) => {
                self.back_off.reset();
                self.failures.files = None;
                *self.failures.of(kind) = None;
            }
            Err(_) if outcome.cancelled => {}
            Err(error) => {
                let pause = self.back_off.failed(now, LONGEST_FILES);
                let message = format!("{error}; trying again in {} s", pause.as_secs());
                *self.failures.of(kind) = Some(message.clone());
                ended.failure = Some(message);
            }
        }
        ended
    }

    /// Records a failed attempt of something that is no job.
    pub(super) fn failed(&mut self, now: Instant) {
        self.back_off.failed(now, LONGEST_FILES);
    }

    /// The request has changed: what failed before may work now, and is no answer to the new request.
    pub(super) fn request_changed(&mut self) {
        self.back_off.reset();
        self.failures.files = None;
    }

    /// No process of the VM is alive any more.
    pub(super) fn nothing_is_alive(&mut self) {
        self.failures.stop = None;
    }

    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// How long until the next attempt; `None` when it is due.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.back_off.left(now)
    }

    /// Cancels the job that runs and gives it `limit` to end.
    pub(super) async fn abandon(&mut self, limit: Duration) {
        if let Some(job) = self.job.take() {
            job.abandon(limit).await;
        }
    }
}

impl Failures {
    fn of(&mut self, kind: Job) -> &mut Option<String> {
        match kind {
            Job::Prepare | Job::WriteTemplate => &mut self.files,
            Job::Kill => &mut self.stop,
            Job::DeleteFiles => &mut self.delete,
        }
    }
}

/// The reason of the event of a failed job.
pub(super) fn failed_reason(kind: Job) -> &'static str {
    match kind {
        Job::Prepare | Job::WriteTemplate => reason::CREATE_FAILED,
        Job::Kill => reason::STOP_FAILED,
        Job::DeleteFiles => reason::DELETE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::FilesError;
    use super::*;

    fn outcome(kind: Job, cancelled: bool, result: Result<(), FilesError>) -> Outcome {
        Outcome {
            kind,
            cancelled,
            warnings: Vec::new(),
            result,
        }
    }

    #[test]
    fn h22_failure_of_a_job_is_kept_until_one_of_its_kind_succeeds() {
        let now = Instant::now();
        let failed = || Err(FilesError::Broken("no".into()));
        let mut work = Work::default();
        let ended = work.judge(outcome(Job::DeleteFiles, false, failed()), now);
        let message = ended.failure.unwrap();
        assert!(message.ends_with("trying again in 1 s"), "{message}");
        assert_eq!(work.failures().delete.as_ref(), Some(&message));
        assert_eq!(work.left(now), Some(Duration::from_secs(1)));
        work.judge(outcome(Job::Kill, false, Ok(())), now);
        assert!(work.failures().delete.is_some() && work.left(now).is_none());
        work.judge(outcome(Job::DeleteFiles, false, Ok(())), now);
        assert!(work.failures().delete.is_none());
        let ended = work.judge(outcome(Job::Prepare, true, failed()), now);
        assert!(
            ended.failure.is_none() && !ended.succeeded,
            "a cancelled job has not failed"
        );
    }
}
