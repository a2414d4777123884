//! The output formats for people and programs: pure functions over a [`Report`].
//!
//! ```text
//! Report → markdown → String          (our own parser reads it back)
//!        → html     → String          (one file, no network)
//!        → json     → Value           (the report itself; from_json reads it back)
//!        → sarif, github, gitlab → Value
//! verdict, compose, check_prose, fails: what a report may claim, and whether CI fails
//! ```
//!
//! *Architecture invariant*: no function here reads a file or the clock, or starts a program; the same report gives
//! the same bytes.

mod complete;
mod composed;
mod count;
mod github;
mod gitlab;
mod harmless;
mod html;
mod json;
mod markdown;
mod prose_check;
mod recommend;
mod replacement;
mod sarif;
mod verdict;

pub use crate::standing::{Standing, gate, standing};
pub use complete::gaps;
pub use composed::compose;
pub use github::github;
pub use gitlab::gitlab;
pub use html::html;
pub use json::{FORMAT_VERSION, JsonError, from_json, json};
pub use markdown::markdown;
pub use prose_check::{Invented, check_prose};
pub use recommend::recommend;
pub use sarif::sarif;
pub use verdict::{Decision, fails, verdict};

#[cfg(doc)]
use crate::model::Report;
