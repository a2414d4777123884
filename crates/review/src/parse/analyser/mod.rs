//! What analysers print.

mod cargo;
mod checkstyle;
mod rdjson;
mod sarif;

pub(super) use cargo::cargo;
pub(super) use checkstyle::checkstyle;
pub(super) use rdjson::{rdjson, rdjsonl};
pub(super) use sarif::sarif;

use crate::model::{Finding, Review, Severity};

/// Builds a review from single messages.
struct Collector {
    review: Review,
}

impl Collector {
    fn new(reviewer: &str) -> Self {
        Self {
            review: Review {
                reviewer: reviewer.to_owned(),
                ..Review::default()
            },
        }
    }

    /// Adds a message; its first line is the title, with the rule before it, so that two rules on one line stay two.
    /// An equal message at an equal place (a crate compiled twice) is dropped.
    fn push(&mut self, rule: &str, severity: Severity, message: &str) -> Option<&mut Finding> {
        let first = message.lines().next().unwrap_or("").trim();
        let title = match (rule.is_empty(), first.is_empty()) {
            (true, true) => return None,
            (true, false) => first.to_owned(),
            (false, true) => rule.to_owned(),
            (false, false) => format!("{rule}: {first}"),
        };
        let id = format!("#{}", self.review.findings.len() + 1);
        let mut finding = Finding::new(id, severity, title);
        message.trim().clone_into(&mut finding.explanation);
        self.review.findings.push(finding);
        self.review.findings.last_mut()
    }

    fn finish(mut self) -> Review {
        let mut seen = std::collections::HashSet::new();
        self.review
            .findings
            .retain(|f| seen.insert((f.title.clone(), f.locations.clone())));
        for (number, finding) in self.review.findings.iter_mut().enumerate() {
            finding.id = format!("#{}", number + 1);
        }
        self.review.says_none = self.review.findings.is_empty();
        self.review
    }
}

/// The severity of an analyser's level. An analyser's error is important; its warnings are suggestions, because
/// analysers use the same level for style and for defects.
fn severity(level: &str) -> Severity {
    match level.to_lowercase().as_str() {
        "critical" | "fatal" => Severity::Critical,
        "error" | "high" => Severity::Important,
        _ => Severity::Suggestion,
    }
}

/// A path as the repository writes it: no scheme, no `./`, `%20` as a space.
fn path(uri: &str) -> String {
    let uri = uri.strip_prefix("file://").unwrap_or(uri);
    let bytes = uri.as_bytes();
    let mut result = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| uri.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                result.push(byte);
                at += 3;
            }
            None => {
                result.push(bytes[at]);
                at += 1;
            }
        }
    }
    let path = String::from_utf8_lossy(&result).replace('\\', "/");
    path.trim_start_matches("./").to_owned()
}

/// Line numbers from outside: 0 and what does not fit are none.
fn line(number: Option<u64>) -> Option<u32> {
    number
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0)
}
