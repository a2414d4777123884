//! The lead reviewer: writes prose from the merged data. Its text is checked against that data before it is used.
//!
//! ```text
//! Report → question → (asked by `run`) → answer → take → the report's prose, or the composed text and why
//! ```
//!
//! The lead's text is accepted as a whole or refused as a whole: if one file in it is invented, the rest may be, too.
//!
//! *Architecture invariant*: nothing here asks a reviewer or reads anything but the report.

mod answer;
mod question;

pub use answer::{Refusal, Written, read};
pub use question::question;

use crate::model::{Note, Prose, Refused, Report};

/// Puts the lead reviewer's text into the report, or records in the report why the text was refused.
pub fn take(report: &mut Report, author: &str, answer: Result<String, String>) {
    let written = answer
        .map_err(|reason| Refusal {
            reason,
            sentences: Vec::new(),
        })
        .and_then(|text| read(report, &text));
    match written {
        Ok(written) => {
            report.prose = Prose {
                summary: written.summary,
                design: written.design,
                author: Some(author.to_owned()),
                refused: None,
            };
            report
                .recommendations
                .extend(written.recommendations.into_iter().map(|text| Note {
                    text,
                    reviewers: vec![author.to_owned()],
                }));
        }
        Err(refusal) => {
            report.prose.refused = Some(Refused {
                author: author.to_owned(),
                reason: refusal.reason,
                sentences: refusal.sentences,
            });
        }
    }
}
