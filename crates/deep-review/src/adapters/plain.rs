//! Commands and analysers, whose whole output is the review.

use super::{Adapter, AskedBy, Reader, Said};

/// The adapter of commands that read the prompt and print a review.
pub struct Command;

impl Adapter for Command {}

/// The adapter of commands that look at files and print findings.
pub struct Analyser;

impl Adapter for Analyser {
    fn asked_by(&self) -> AskedBy {
        AskedBy::Files
    }
}

/// The output so far.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
}

impl Reader for Text {
    fn line(&mut self, line: &str) -> Option<String> {
        self.text.push_str(line);
        self.text.push('\n');
        None
    }

    fn said(&mut self) -> Said {
        Said {
            text: std::mem::take(&mut self.text),
            ..Said::default()
        }
    }
}
