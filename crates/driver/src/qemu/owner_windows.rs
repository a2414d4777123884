//! Which process holds a lock, on Windows. No QEMU is started there yet ([`super::super::sys::supported`]), so the record
//! is trusted after its process was checked against start time and boot.

use std::path::Path;

use process::Identity;

/// Returns the process of the record, if it lives.
pub(super) fn find(_lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    let Some(likely) = likely else {
        return Ok(None);
    };
    let process = process::Process::open(likely).map_err(std::io::Error::other)?;
    Ok(process.map(|process| process.identity().clone()))
}
