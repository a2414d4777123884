//! Commands and analysers: what they print is the review.

use super::{Reader, Said};

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
