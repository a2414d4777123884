//! The file with the author's answers: `deep-review resolve`.

use std::path::Path;
use std::time::{Duration, Instant};

use process::lock::FileLock;
use review::model::{MergedFinding, Report};
use review::rounds::answers::{Answer, Answers};

use super::{StoreError, TargetFolder, read_json, write_json};

/// The time limit for the lock: writing an answer takes an instant, so a process that holds the lock longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why an answer was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The state folder is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target has no report yet.
    #[error("{target} has no finished review in this repository's state; known: {known}")]
    NoReport {
        /// The target's name.
        target: String,
        /// The names of other targets.
        known: String,
    },
    /// The last report has no such finding.
    #[error("round {round} of {target} has no finding {id}; it has {known}")]
    NoFinding {
        /// The finding as given.
        id: String,
        /// The target's name.
        target: String,
        /// The number of the last round.
        round: u32,
        /// The ids of its findings.
        known: String,
    },
}

/// Reads the file; no file means no answers.
pub fn read(path: &Path) -> Result<Answers, StoreError> {
    Ok(read_json(path)?.unwrap_or_default())
}

/// Records an answer to a finding of the target's last report, named by its id or its fingerprint. Returns the finding.
pub fn resolve(
    folder: &TargetFolder,
    target: &str,
    known: &[String],
    id: &str,
    answer: Answer,
) -> Result<MergedFinding, ResolveError> {
    let Some(last) = folder.reports()?.pop() else {
        return Err(ResolveError::NoReport {
            target: target.to_owned(),
            known: known.join(", "),
        });
    };
    let finding = find(&last, id).ok_or_else(|| ResolveError::NoFinding {
        id: id.to_owned(),
        target: target.to_owned(),
        round: last.round,
        known: last
            .findings
            .iter()
            .chain(&last.closed)
            .map(|finding| finding.id.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let path = folder.answers();
    let _lock = FileLock::acquire(
        &path.with_extension("lock"),
        "deep-review resolve",
        Instant::now() + PATIENCE,
    )
    .map_err(StoreError::from)?;
    let mut answers = read(&path)?;
    answers.record(&last, finding, answer);
    write_json(&path, &answers)?;
    Ok(finding.clone())
}

fn find<'a>(report: &'a Report, id: &str) -> Option<&'a MergedFinding> {
    report
        .findings
        .iter()
        .chain(&report.closed)
        .find(|finding| finding.id.eq_ignore_ascii_case(id) || finding.fingerprint == id)
}
