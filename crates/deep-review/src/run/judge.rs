//! A question to a reviewer that is not for a review: close calls of the merge, the prose of the lead reviewer.
//!
//! The question goes through the same adapters, with the same environment, once, in an empty folder instead of a work
//! tree. The report lists failures; a question delays the report by [`LONGEST`] at most.

use std::time::{Duration, Instant};

use super::progress::State;
use super::reviewer::{self, RunContext};
use crate::adapters::config::Reviewer;
use review::model::{Asked, Performance};
use review::plain::one_line;

/// The time limit of a question: an answer takes minutes, and the reviewers have taken up to hours before.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The limit of the reviewer's output, with all its events. An answer has at most some 30 KiB.
const OUTPUT_LIMIT: usize = 4 * 1024 * 1024;

/// Asks the question. The answer is unchecked text; the error is the end of a sentence that begins with the reviewer's
/// name.
pub(super) async fn ask(
    context: &RunContext,
    judge: &Reviewer,
    purpose: &str,
    question: &str,
) -> (Result<String, String>, Asked) {
    let started = Instant::now();
    // The question has its own line of the display and its own folders, apart from the reviewer's review.
    let reviewer = Reviewer {
        name: format!("{} ({purpose})", judge.name),
        timeout: judge.timeout.min(LONGEST),
        output_limit: judge.output_limit.min(OUTPUT_LIMIT),
        ..judge.clone()
    };
    let scratch = context.round.scratch(&reviewer.name);
    let folder = scratch.join("empty");
    let mut performance = Performance::default();
    context.progress.show(&reviewer.name, State::Working, "");
    let result = match process::file::create_private_dir(&scratch)
        .and_then(|()| process::file::create_private_dir(&folder))
    {
        Ok(()) => {
            let prompt = context.redactor.clean(question);
            let timeout = reviewer.timeout;
            let answer =
                reviewer::one(context, &reviewer, &folder, &scratch, &prompt, timeout).await;
            answer.said.usage.add_to(&mut performance);
            let clean = |text: &str| one_line(&context.redactor.clean(text), 800);
            // A partial answer is refused: unlike a review, it may not be used in parts.
            match (answer.said.error.as_deref(), answer.trouble.as_deref()) {
                (Some(trouble), _) | (None, Some(trouble)) => {
                    Err(format!("failed: {}", clean(trouble)))
                }
                (None, None) if answer.said.text.trim().is_empty() => {
                    Err("answered nothing".to_owned())
                }
                (None, None) => Ok(context.redactor.clean(&answer.said.text)),
            }
        }
        Err(error) => Err(format!("was not asked: {error}")),
    };
    performance.seconds = Some(started.elapsed().as_secs_f64());
    let (state, action) = match &result {
        Ok(_) => (State::Finished, ""),
        Err(trouble) => (State::Failed, trouble.as_str()),
    };
    context
        .progress
        .show(&reviewer.name, state, &one_line(action, 200));
    let asked = Asked {
        name: judge.name.clone(),
        purpose: purpose.to_owned(),
        trouble: result.as_ref().err().cloned(),
        performance,
    };
    (result, asked)
}
