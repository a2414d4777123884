//! Markdown reviews, in the dialects that reviewers write.

mod body;
mod headline;
mod lines;
mod loose;
mod notes;
mod place;
mod report;
mod review;
mod section;
mod table;

pub use headline::severity;
pub use place::locations as places;
pub use report::{Answer, Original, ReportText, report};
pub use review::review;
pub use table::Table;
