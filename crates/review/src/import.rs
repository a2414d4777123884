//! Merges reviews that exist already: a file a reviewer, or reports whose appendices hold the originals.

use std::path::{Path, PathBuf};

use crate::merge;
use crate::model::{Outcome, Performance, Report, ReviewerRun, Target};
use crate::parse::markdown::{self, ReportText};
use crate::parse::{self, Format};
use crate::report;
use crate::rounds::{self, Code};

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file or folder that cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of more than [`parse::LARGEST`] bytes.
    #[error("{path} has {bytes} bytes, more than the {max} that are read", max = parse::LARGEST)]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// More files than [`MOST_FILES`].
    #[error("{path} holds more than {MOST_FILES} files; name the reviews")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// No file at all.
    #[error(
        "there is no review in {paths}: no file that ends in .md, .markdown, .txt, .json, .jsonl, .sarif or .xml"
    )]
    Nothing {
        /// What was searched.
        paths: String,
    },
}

/// How many files one import reads.
const MOST_FILES: usize = 10_000;

/// How deep folders are searched.
const DEEPEST: usize = 8;

const SUFFIXES: [&str; 7] = ["md", "markdown", "txt", "json", "jsonl", "sarif", "xml"];

/// The files that may be reviews, folders searched, in the order of their paths.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ImportError> {
    let mut result = Vec::new();
    for top in paths {
        let mut open = vec![(top.clone(), 0)];
        let mut found = Vec::new();
        while let Some((path, depth)) = open.pop() {
            let read = |source| ImportError::Read {
                path: path.clone(),
                source,
            };
            if std::fs::metadata(&path).map_err(read)?.is_dir() {
                if depth >= DEEPEST {
                    continue;
                }
                for entry in std::fs::read_dir(&path).map_err(read)? {
                    let entry = entry.map_err(read)?;
                    let hidden = entry.file_name().to_string_lossy().starts_with('.');
                    let file_type = entry.file_type().map_err(read)?;
                    // Links could lead out of the folder, or round in it.
                    if !hidden && (file_type.is_dir() || file_type.is_file()) {
                        open.push((entry.path(), depth + 1));
                    }
                }
            } else if depth == 0 || has_suffix(&path) {
                found.push(path);
            }
            if found.len() > MOST_FILES {
                return Err(ImportError::TooMany { path: top.clone() });
            }
        }
        found.sort();
        result.extend(found);
    }
    if result.is_empty() {
        let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(ImportError::Nothing {
            paths: paths.join(", "),
        });
    }
    Ok(result)
}

fn has_suffix(path: &Path) -> bool {
    path.extension()
        .and_then(|s| s.to_str())
        .is_some_and(|s| SUFFIXES.contains(&s.to_ascii_lowercase().as_str()))
}

/// Reads a file, up to [`parse::LARGEST`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let error = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(error)?.len();
    if bytes > parse::LARGEST as u64 {
        return Err(ImportError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    std::fs::read(path).map_err(error)
}

/// Imports files and folders. Each report with an appendix becomes a report; all other files together become one, a
/// reviewer each, named after the file. `now` stands where a report does not say its date (RFC 3339).
///
/// What is merged is held against `earlier` reports, the oldest first. There is no code to look at: what was declined
/// stays so unless other code is quoted, and what nobody raised again stays open.
pub fn import(
    paths: &[PathBuf],
    earlier: &[Report],
    now: &str,
) -> Result<Vec<Report>, ImportError> {
    let mut reports = Vec::new();
    let mut single: Vec<ReviewerRun> = Vec::new();
    for path in files(paths)? {
        let bytes = read(&path)?;
        let name = stem(&path);
        if parse::detect(&bytes) == Format::Markdown {
            let text = markdown::report(&String::from_utf8_lossy(&bytes));
            if !text.originals.is_empty() {
                reports.push(from_text(&name, &text, now));
                continue;
            }
        }
        single.push(run(&name, &bytes, &path));
    }
    if !single.is_empty() {
        let name = match paths {
            [one] => stem(one),
            _ => "import".to_owned(),
        };
        let target = Target {
            name,
            ..Target::default()
        };
        reports.push(merged(single, target, now.to_owned(), 1));
    }
    if !earlier.is_empty() {
        let known = rounds::after(earlier);
        let last = earlier.iter().map(|report| report.round).max();
        for report in &mut reports {
            report.round = report.round.max(last.unwrap_or(0).saturating_add(1));
            rounds::reconcile(&Code::default(), report, &known, &[]);
            settle(report);
        }
    }
    Ok(reports)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "review".to_owned(), |s| s.to_string_lossy().into_owned())
}

fn run(name: &str, bytes: &[u8], path: &Path) -> ReviewerRun {
    let mut run = ReviewerRun {
        name: name.to_owned(),
        outcome: Outcome::Finished { warning: None },
        review: crate::model::Review::default(),
        original: String::from_utf8_lossy(bytes).into_owned(),
        performance: Performance::default(),
    };
    match parse::detect_and_parse(name, bytes) {
        Ok(review) => run.review = review,
        Err(error) => {
            run.outcome = Outcome::Failed {
                reason: format!("{}: {error}", path.display()),
            }
        }
    }
    run
}

/// A report's originals, merged anew.
pub fn from_text(name: &str, text: &ReportText, now: &str) -> Report {
    let runs: Vec<ReviewerRun> = text
        .originals
        .iter()
        .map(|o| ReviewerRun {
            name: o.reviewer.clone(),
            outcome: if o.review.says_none || !parse::is_empty(&o.review) {
                Outcome::Finished { warning: None }
            } else {
                Outcome::Failed {
                    reason: "its text in the appendix holds no review".to_owned(),
                }
            },
            review: o.review.clone(),
            original: o.text.clone(),
            performance: Performance {
                seconds: crate::stats::column(text, &o.reviewer)
                    .and_then(|c| c.get("duration").and_then(|d| crate::stats::seconds(d))),
                ..Performance::default()
            },
        })
        .collect();
    let field = |name: &str| text.field(name).map(plain_link);
    let commits = text
        .field("Commits")
        .map(|c| c.split("<br>").map(|c| c.replace('`', "")).collect())
        .unwrap_or_default();
    let mut changed: Vec<String> = text
        .originals
        .iter()
        .flat_map(|o| o.review.coverage.iter().map(|c| c.path.clone()))
        .collect();
    changed.sort();
    changed.dedup();
    let target = Target {
        name: name.to_owned(),
        repo: field("Repo"),
        commits,
        files: changed,
        ..Target::default()
    };
    let round = round(text);
    let date = field("Date").unwrap_or_else(|| now.to_owned());
    merged(runs, target, date, round)
}

/// Which round a report says that it is.
pub(crate) fn round(text: &ReportText) -> u32 {
    text.field("Round")
        .and_then(|r| r.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or(1)
}

/// `[text](address)` → `text`.
fn plain_link(text: &str) -> String {
    text.strip_prefix('[')
        .and_then(|t| t.split_once(']'))
        .map_or_else(|| text.to_owned(), |(inside, _)| inside.to_owned())
}

fn merged(reviewers: Vec<ReviewerRun>, target: Target, date: String, round: u32) -> Report {
    let findings = merge::merge(&reviewers);
    let mut result = Report {
        version: report::FORMAT_VERSION,
        date,
        target,
        round,
        reviewers,
        findings,
        ..Report::default()
    };
    settle(&mut result);
    result
}

/// What follows from the findings.
fn settle(report: &mut Report) {
    report.verdict = report::verdict(report);
    report.recommendations = report::recommend(report);
    report.prose = report::compose(report);
}
