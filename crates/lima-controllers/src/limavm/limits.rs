//! Limits that several parts of the controller share.

use std::time::Duration;

/// The longest pause between two starts of a VM (hazard 19).
pub(super) const LONGEST_START: Duration = Duration::from_secs(300);
/// The longest pause between two attempts to create, change or delete files. Their causes (network, full disk, missing
/// image) are removed by people, who then wait for the next attempt.
pub(super) const LONGEST_FILES: Duration = Duration::from_secs(30);
