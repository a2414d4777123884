//! Markdown reviews, in the dialects that reviewers write.

mod body;
mod headline;
mod lines;
mod report;
mod review;
mod section;
mod table;

pub use headline::{locations as places, severity};
pub use report::{Answer, Original, ReportText, report};
pub use review::review;
pub use table::Table;
