//! The data of a review: the reviewers' findings, the results of checks, and the report.
//!
//! ```text
//! parse → Review (one reviewer's) → verify → Review with checks → merge → Merged → rounds → report
//! ```
//!
//! *Architecture invariant*: plain data with serde; nothing here reads a file, starts a program or knows a format.

mod finding;
mod merged;
mod report;
mod review;
mod target;

pub use finding::{
    Check, CheckKind, CheckResult, Class, Evidence, Finding, Location, Scope, Severity,
};
pub use merged::{History, MergedFinding, Voice};
pub use report::{
    Asked, CloseCall, CloseCalls, Prose, Refused, RefusedSentence, Report, Round, Verdict,
};
pub use review::{Coverage, Note, Outcome, Performance, Review, ReviewerRun};
pub use target::{ChangeKind, Excerpt, FileChange, Target};
