//! What a review is written in, and whether there is one at all.

use serde::{Deserialize, Serialize};

use review::model::Review;
use review::parse;

/// The formats that reviewers print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By its looks.
    #[default]
    Auto,
    /// Markdown in the dialects that reviewers write.
    Markdown,
    /// Our own JSON findings.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// reviewdog's JSON.
    Rdjson,
    /// The same, a diagnostic a line.
    Rdjsonl,
    /// checkstyle's XML.
    Checkstyle,
    /// `cargo --message-format=json`.
    Cargo,
}

impl Format {
    /// Whether it is a machine's: then an answer is the same every time.
    #[must_use]
    pub fn is_exact(self) -> bool {
        !matches!(self, Format::Auto | Format::Markdown | Format::Json)
    }
}

/// Reads a review. The error says why what was printed is none.
pub fn read(format: Format, reviewer: &str, text: &str) -> Result<Review, String> {
    let bytes = text.as_bytes();
    let format = match format {
        Format::Auto => parse::detect(bytes),
        Format::Markdown => parse::Format::Markdown,
        Format::Json => parse::Format::Json,
        Format::Sarif => parse::Format::Sarif,
        Format::Rdjson => parse::Format::Rdjson,
        Format::Rdjsonl => parse::Format::Rdjsonl,
        Format::Checkstyle => parse::Format::Checkstyle,
        Format::Cargo => parse::Format::Cargo,
    };
    let mut review = parse::parse(format, reviewer, bytes).map_err(|error| error.to_string())?;
    // Who it is, and what was checked, is for us to say.
    reviewer.clone_into(&mut review.reviewer);
    for finding in &mut review.findings {
        finding.checks.clear();
        finding.reviewers.clear();
    }
    Ok(review)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_cannot_vouch_for_itself() {
        let text = r#"{"reviewer": "somebody else", "findings": [{"severity": "important", "title": "t", "checks": [{"kind": "file", "result": "confirmed", "detail": "says I"}]}]}"#;
        let review = read(Format::Auto, "me", text).unwrap();
        assert_eq!(review.reviewer, "me");
        assert!(review.findings[0].checks.is_empty());
    }
}
