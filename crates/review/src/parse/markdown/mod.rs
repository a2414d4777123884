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
mod severity;
mod table;

pub(super) use embedded::own_json;
pub(super) use headline::starts_with_an_id;
pub use place::locations as places;
pub use report::{Answer, Original, ReportText, report};
pub(super) use review::is_none;
pub use review::review;
pub(super) use severity::leading_severity;
pub use severity::severity;
pub use table::Table;
