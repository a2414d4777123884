//! Reads and writes [`MachineRecord`]s.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use process::file::write_atomic;

use crate::error::DriverError;
use crate::machine::MachineRecord;

/// A record has a few hundred bytes. A file of more was not written by a driver.
const LIMIT: u64 = 64 * 1024;

/// Returns the record in `path`; `None` if there is none, or none that can be read.
pub(crate) fn read(path: &Path) -> Option<MachineRecord> {
    if std::fs::metadata(path).ok()?.len() > LIMIT {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes the record to `path`, whole or not at all.
pub(crate) fn write(path: &Path, record: &MachineRecord) -> Result<(), DriverError> {
    let bytes = serde_json::to_vec_pretty(record).map_err(|error| DriverError::File {
        action: "write",
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(write_atomic(path, &bytes, 0o600)?)
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
