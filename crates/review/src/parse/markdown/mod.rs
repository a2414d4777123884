//! Markdown reviews, in the dialects that reviewers write.

mod body;
mod embedded;
mod headline;
mod lines;
mod loose;
mod notes;
mod place;
mod report;
mod review;
mod section;
mod table;

pub(super) use embedded::own_json;
pub use headline::severity;
pub(super) use headline::{leading_severity, starts_with_an_id};
pub use place::locations as places;
pub use report::{Answer, Original, ReportText, report};
pub(super) use review::is_none;
pub use review::review;
pub use table::Table;
