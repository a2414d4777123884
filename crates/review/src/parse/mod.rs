//! Parses a reviewer's output into a [`Review`]. The parsers are tolerant, and keep text that they cannot read.
//!
//! *Architecture invariant*: no input causes a panic, and a parser never opens a file or starts a process.

mod analyser;
mod detect;
mod json;
pub mod markdown;

use crate::model::Review;

pub use detect::detect;

/// The formats that reviewers print.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Detects the format from the whole output ([`detect`]).
    #[default]
    Auto,
    /// A review in Markdown, in any of the dialects that occur, with JSON findings between its parts.
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

impl Format {
    /// Whether only analysers print this format. An analyser gives the same answer every time.
    #[must_use]
    pub fn is_exact(self) -> bool {
        !matches!(self, Format::Auto | Format::Markdown | Format::Json)
    }
}

/// Why an output is not a review.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The output contains only white space.
    #[error("{reviewer} printed nothing")]
    Empty {
        /// The reviewer's name.
        reviewer: String,
    },
    /// Larger than [`LARGEST`].
    #[error(
        "{reviewer} printed {bytes} bytes, more than the {LARGEST} that are read; make it report less"
    )]
    TooLarge {
        /// The reviewer's name.
        reviewer: String,
        /// The size of the output.
        bytes: usize,
    },
    /// Text without any recognisable part of a review.
    #[error(
        "{reviewer} printed text, but no finding and no section of a review is in it; it begins with: {beginning}"
    )]
    NoReview {
        /// The reviewer's name.
        reviewer: String,
        /// The first words, for the reader.
        beginning: String,
    },
    /// The output violates its format.
    #[error("the output of {reviewer} is no {format:?}: {reason}")]
    Malformed {
        /// The reviewer's name.
        reviewer: String,
        /// The expected format.
        format: Format,
        /// The error and its position.
        reason: String,
    },
}

/// The largest output that is read, in bytes. The largest real report has 112 kB; an analyser over a large repository
/// prints some megabytes.
pub const LARGEST: usize = 64 << 20;

/// Reads an output of any format.
pub fn detect_and_parse(reviewer: &str, bytes: &[u8]) -> Result<Review, ParseError> {
    parse(Format::Auto, reviewer, bytes)
}

/// Reads an output of a known format. Bytes that are no UTF-8 become U+FFFD.
pub fn parse(format: Format, reviewer: &str, bytes: &[u8]) -> Result<Review, ParseError> {
    if bytes.len() > LARGEST {
        return Err(ParseError::TooLarge {
            reviewer: reviewer.to_owned(),
            bytes: bytes.len(),
        });
    }
    let format = match format {
        Format::Auto => detect(bytes),
        named => named,
    };
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
    let mut review = match format {
        Format::Auto | Format::Markdown | Format::Json => prose(reviewer, text)?,
        Format::Sarif => analyser::sarif(reviewer, text).map_err(malformed)?,
        Format::Rdjson => analyser::rdjson(reviewer, text).map_err(malformed)?,
        Format::Rdjsonl => analyser::rdjsonl(reviewer, text).map_err(malformed)?,
        Format::Checkstyle => analyser::checkstyle(reviewer, text).map_err(malformed)?,
        Format::Cargo => analyser::cargo(reviewer, text).map_err(malformed)?,
    };
    review.analyser = format.is_exact();
    // A reviewer must not set checks of its own findings or the names of other reviewers.
    for finding in &mut review.findings {
        finding.checks.clear();
        finding.reviewers.clear();
    }
    Ok(review)
}

/// The maximum number of words around an empty JSON list that count as an introduction: `Here is my review:`.
const FEW_WORDS: usize = 30;

/// Reads an agent's answer: Markdown, JSON findings, or both. All findings are kept, in either form.
/// JSON that the reviewer only quotes ([`markdown::own_json`]) is text.
fn prose(reviewer: &str, text: &str) -> Result<Review, ParseError> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(json::review(reviewer, &value));
    }
    let mut review = markdown::review(reviewer, text);
    let (blocks, around) = markdown::own_json(text);
    let mut empty_list = false;
    for block in &blocks {
        let found = json::review(reviewer, block);
        empty_list |= found.says_none;
        json::add(&mut review, found);
    }
    if !is_empty(&review) {
        return Ok(review);
    }
    if says_none(text) || empty_list && says_little(&around) {
        review.says_none = true;
        return Ok(review);
    }
    Err(ParseError::NoReview {
        reviewer: reviewer.to_owned(),
        beginning: text.trim().chars().take(120).collect(),
    })
}

/// Whether the text around an empty list of findings cannot hold a finding.
fn says_little(text: &str) -> bool {
    text.split_whitespace().count() <= FEW_WORDS && !looks_like_a_finding(text)
}

/// Whether a one-sentence answer says that there are no findings: `No issues found.`, `LGTM`.
fn says_none(text: &str) -> bool {
    let text = text.trim();
    let sentence = text.trim_end_matches(['.', '!']);
    !text.contains('\n') && !sentence.contains(". ") && markdown::is_none(sentence)
        || sentence.split_whitespace().count() <= 6
            && ["lgtm", "looks good to me"]
                .iter()
                .any(|words| sentence.to_lowercase().starts_with(words))
}

/// Whether unread text may contain a finding: it names a place with a line, or an identifier such as `C1.`.
#[must_use]
pub fn looks_like_a_finding(text: &str) -> bool {
    markdown::places(text)
        .iter()
        .any(|place| place.start.is_some())
        || text.lines().any(markdown::starts_with_an_id)
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

/// Whether a review is empty.
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
        analyser: _,
        left_out: _,
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
    fn text_without_review_is_an_error() {
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
    fn review_cannot_confirm_its_own_findings() {
        let text = br#"{"reviewer": "another", "findings": [{"severity": "important", "title": "t", "checks": [{"kind": "file", "result": "confirmed", "detail": "says I"}]}]}"#;
        let review = detect_and_parse("me", text).unwrap();
        assert_eq!(review.reviewer, "me");
        assert!(review.findings[0].checks.is_empty());
    }

    #[test]
    fn invalid_utf8_is_replaced() {
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
