//! Who holds a lock, on Windows. No QEMU of ours is started there yet ([`super::super::sys::supported`]), and so the
//! record is believed: its process is checked against start time and boot.

use std::path::Path;

use process::Identity;

/// The process of the record, if it lives.
pub(super) fn find(_lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    let Some(likely) = likely else {
        return Ok(None);
    };
    let process = process::Process::open(likely).map_err(std::io::Error::other)?;
    Ok(process.map(|process| process.identity().clone()))
}
