//! From what a reviewer wrote to a [`Review`]: tolerant, and never silent about what it could not read.
//!
//! *Architecture invariant*: nothing here panics, whatever the bytes; a parser reads, it never opens a file or runs
//! anything.

mod analyser;
mod detect;
mod json;
pub mod markdown;

use crate::model::Review;

pub use detect::detect;

/// What a reviewer's output can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A review in Markdown, in any of the dialects that occur.
    Markdown,
    /// Our own JSON findings, also inside prose or a fence; docs/deep-review.md has the fields.
    Json,
    /// SARIF 2.1.0, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>.
    Sarif,
    /// reviewdog's `DiagnosticResult`, <https://github.com/reviewdog/reviewdog/tree/master/proto/rdf>.
    Rdjson,
    /// One reviewdog `Diagnostic` a line.
    Rdjsonl,
    /// Checkstyle's XML.
    Checkstyle,
    /// `cargo --message-format=json`, <https://doc.rust-lang.org/rustc/json.html>.
    Cargo,
}

/// Why an output is no review.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but white space.
    #[error("{reviewer} printed nothing")]
    Empty {
        /// Who.
        reviewer: String,
    },
    /// Larger than [`LARGEST`].
    #[error(
        "{reviewer} printed {bytes} bytes, more than the {LARGEST} that are read; make it report less"
    )]
    TooLarge {
        /// Who.
        reviewer: String,
        /// How much.
        bytes: usize,
    },
    /// Prose in which nothing of a review could be recognised.
    #[error(
        "{reviewer} printed text, but no finding and no section of a review is in it; it begins with: {beginning}"
    )]
    NoReview {
        /// Who.
        reviewer: String,
        /// The first words, for the reader.
        beginning: String,
    },
    /// Not what the format demands.
    #[error("the output of {reviewer} is no {format:?}: {reason}")]
    Malformed {
        /// Who.
        reviewer: String,
        /// What was expected.
        format: Format,
        /// What is wrong, and where.
        reason: String,
    },
}

/// The largest output that is read, in bytes. The largest real report has 112 kB; an analyser over a large repository
/// prints some megabytes.
pub const LARGEST: usize = 64 << 20;

/// Reads an output, of whatever format it is.
pub fn detect_and_parse(reviewer: &str, bytes: &[u8]) -> Result<Review, ParseError> {
    parse(detect(bytes), reviewer, bytes)
}

/// Reads an output of a known format. Bytes that are no UTF-8 become U+FFFD.
pub fn parse(format: Format, reviewer: &str, bytes: &[u8]) -> Result<Review, ParseError> {
    if bytes.len() > LARGEST {
        return Err(ParseError::TooLarge {
            reviewer: reviewer.to_owned(),
            bytes: bytes.len(),
        });
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let malformed = |reason: String| ParseError::Malformed {
        reviewer: reviewer.to_owned(),
        format,
        reason,
    };
    // A clean run of an analyser that prints a line for each finding prints nothing.
    let lines = matches!(format, Format::Rdjsonl | Format::Cargo);
    if text.trim().is_empty() && !lines {
        return Err(ParseError::Empty {
            reviewer: reviewer.to_owned(),
        });
    }
    match format {
        Format::Markdown => {
            let review = markdown::review(reviewer, text);
            if is_empty(&review) {
                return Err(ParseError::NoReview {
                    reviewer: reviewer.to_owned(),
                    beginning: text.trim().chars().take(120).collect(),
                });
            }
            Ok(review)
        }
        Format::Json => json::review(reviewer, text).map_err(malformed),
        Format::Sarif => analyser::sarif(reviewer, text).map_err(malformed),
        Format::Rdjson => analyser::rdjson(reviewer, text).map_err(malformed),
        Format::Rdjsonl => analyser::rdjsonl(reviewer, text).map_err(malformed),
        Format::Checkstyle => analyser::checkstyle(reviewer, text).map_err(malformed),
        Format::Cargo => analyser::cargo(reviewer, text).map_err(malformed),
    }
}

/// Makes paths relative to a checkout: analysers print absolute ones, and ones that begin with `./`.
pub fn strip_root(review: &mut Review, root: &str) {
    let root = root.trim_end_matches('/');
    for location in review.findings.iter_mut().flat_map(|f| &mut f.locations) {
        let path = location
            .path
            .strip_prefix(root)
            .and_then(|rest| rest.strip_prefix('/'))
            .filter(|_| !root.is_empty())
            .unwrap_or(&location.path);
        location.path = path.trim_start_matches("./").to_owned();
    }
}

/// Whether a review says nothing at all.
pub(crate) fn is_empty(review: &Review) -> bool {
    let Review {
        reviewer: _,
        summary,
        findings,
        strengths,
        concerns,
        testing_gaps,
        documentation,
        commit_structure,
        acknowledged_limitations,
        unresolved_feedback,
        coverage,
        unparsed,
        says_none,
    } = review;
    summary.is_empty()
        && findings.is_empty()
        && [
            strengths,
            concerns,
            testing_gaps,
            documentation,
            commit_structure,
            acknowledged_limitations,
            unresolved_feedback,
        ]
        .iter()
        .all(|notes| notes.is_empty())
        && coverage.is_empty()
        && unparsed.is_empty()
        && !says_none
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_review_is_an_error() {
        for text in [
            "",
            "  \n",
            "I could not reach the model.",
            "Error: rate limited",
        ] {
            assert!(detect_and_parse("r", text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(detect_and_parse("r", b"## Findings\n\n### Critical Issues\n\nNone.\n").is_ok());
        assert!(detect_and_parse("r", b"{\"findings\": []}").is_ok());
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let text = b"## Suggestions\n\nS1. **Wrong \xff byte** \xe2\x80\x94 `a.rs:1`\n";
        assert_eq!(detect_and_parse("r", text).unwrap().findings.len(), 1);
    }

    #[test]
    fn paths_become_relative() {
        let mut review = detect_and_parse(
            "r",
            br#"{"findings":[{"title":"a","file":"/w/x/src/a.rs"},{"title":"b","file":"./b.rs"},{"title":"c","file":"/w/xy/c.rs"}]}"#,
        )
        .unwrap();
        strip_root(&mut review, "/w/x/");
        let paths: Vec<&str> = review
            .findings
            .iter()
            .map(|f| f.locations[0].path.as_str())
            .collect();
        assert_eq!(paths, ["src/a.rs", "b.rs", "/w/xy/c.rs"]);
    }
}
