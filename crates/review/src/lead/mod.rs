//! The lead reviewer: writes the prose that needs judgement from the merged data, and is not believed.
//!
//! ```text
//! Report → question → (asked by `run`) → answer → take → the report's prose, or the composed text and why
//! ```
//!
//! What a lead writes is taken whole or not at all: who invents one file may have invented the rest, too.
//!
//! *Architecture invariant*: nothing here asks a reviewer or reads anything but the report.

mod answer;
mod question;

pub use answer::{Refusal, Written, read};
pub use question::question;

use crate::model::{Note, Prose, Refused, Report};

/// Puts what a lead reviewer wrote into the report, or says in the report why it does not stand there.
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
