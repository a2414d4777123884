//! Earlier reports that the user gives: our own as JSON, or Markdown as people wrote it.

use std::path::PathBuf;

use super::Input;
use crate::merge;
use crate::model::{Finding, History, MergedFinding, Report, Voice};
use crate::parse::markdown::{self, ReportText};
use crate::parse::{self, Format};
use crate::report;

/// Why a file cannot be used as an earlier report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GivenError {
    /// It is JSON, but no report of ours.
    #[error("{path} cannot be used as an earlier report: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: report::JsonError,
    },
    /// Nothing in it looks like a report.
    #[error(
        "{path} cannot be used as an earlier report: it holds no finding; give a report of deep-review (--format json) or one in Markdown"
    )]
    Nothing {
        /// The file.
        path: PathBuf,
    },
}

/// Reads earlier reports, the oldest first.
pub fn earlier(inputs: &[Input]) -> Result<Vec<Report>, GivenError> {
    let mut result = Vec::new();
    for Input { path, bytes } in inputs {
        if let Some(mut report) = super::own(bytes) {
            // An earlier round needs a number, since findings are said to be open since then.
            report.round = report.round.max(1);
            result.push(report);
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        if parse::detect(bytes) == Format::Markdown {
            let report = from_text(&markdown::report(&text));
            if report.findings.is_empty() && report.closed.is_empty() {
                return Err(GivenError::Nothing { path: path.clone() });
            }
            result.push(report);
        } else {
            let report = report::from_json(&text).map_err(|source| GivenError::Json {
                path: path.clone(),
                source,
            })?;
            result.push(report);
        }
    }
    result.sort_by(|a, b| (a.round, &a.date).cmp(&(b.round, &b.date)));
    Ok(result)
}

/// A report that people wrote: what its reviewers said together, and what its table of answers says of it.
fn from_text(text: &ReportText) -> Report {
    let round = super::round(text).max(1);
    let mut report = Report {
        version: report::FORMAT_VERSION,
        date: text.field("Date").unwrap_or_default().replace('`', ""),
        target: super::target(&text.title, text),
        round,
        ..Report::default()
    };
    for said in &text.consolidated.findings {
        let Some(mut finding) = merged(said) else {
            continue;
        };
        let answer = text.answers.iter().find(|answer| answer.id == finding.id);
        if let Some(answer) = answer {
            let (action, reason) = (answer.action.to_lowercase(), answer.reason.clone());
            let put_off = ["defer", "postpone", "later", "follow-up", "future"];
            if put_off.iter().any(|word| action.contains(word)) {
                finding.deferred = Some(reason);
            } else {
                match crate::stats::answered(&action) {
                    Some(true) => finding.history = History::Fixed { since: round },
                    Some(false) => {
                        finding.history = History::Declined {
                            since: round,
                            reason,
                        }
                    }
                    None => {}
                }
            }
        }
        match finding.history {
            History::New | History::Open { .. } => report.findings.push(finding),
            History::Fixed { .. } | History::Declined { .. } => report.closed.push(finding),
        }
    }
    report
}

fn merged(said: &Finding) -> Option<MergedFinding> {
    let mut names: Vec<String> = said.reviewers.clone();
    if names.is_empty() {
        names.push("report".to_owned());
    }
    let voices = names
        .into_iter()
        .map(|reviewer| Voice {
            reviewer,
            analyser: false,
            finding: said.clone(),
        })
        .collect();
    let mut finding = merge::join(voices)?;
    finding.id.clone_from(&said.id);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_people_with_its_answers() {
        let text = "\
# Deep Review

| | |
|---|---|
| **Round** | 2 (of target) |
| **Head** | `0123456789abcdef` |

## Important Issues

I1. **One** — `a.rs:1` (important) [Claude] [Codex]

I2. **Two** — `a.rs:2` (important) [Claude]

## Suggestions

S1. **Three** — `a.rs:3` (suggestion) [Codex]

S2. **Four** — `a.rs:4` (suggestion) [Codex]

## Resolution

| # | Finding | Action | Reason |
|---|---|---|---|
| 1 | Important I1: One | Fixed | |
| 2 | Important I2: Two | Skipped | by design |
| 3 | Suggestion S1: Three | Deferred | next month |
";
        let report = from_text(&markdown::report(text));
        assert_eq!(
            (report.round, report.target.head.as_str()),
            (2, "0123456789abcdef")
        );
        let open: Vec<_> = report
            .findings
            .iter()
            .map(|f| (f.lead.title.as_str(), f.deferred.as_deref()))
            .collect();
        assert_eq!(open, [("Three", Some("next month")), ("Four", None)]);
        let closed: Vec<_> = report
            .closed
            .iter()
            .map(|f| (f.lead.title.as_str(), f.voices.len(), &f.history))
            .collect();
        assert_eq!(
            closed,
            [
                ("One", 2, &History::Fixed { since: 2 }),
                (
                    "Two",
                    1,
                    &History::Declined {
                        since: 2,
                        reason: "by design".to_owned()
                    }
                ),
            ]
        );
    }
}
