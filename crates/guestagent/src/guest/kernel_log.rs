//! The agent's log in `/dev/kmsg`. It exists from the first moment and shows on the console. journald reads it from its
//! beginning, so `journalctl -t guestagent` shows all of it.

use std::fs::OpenOptions;
use std::io::Write as _;

/// A kernel log record has a bit less than 1 KiB (`LOG_LINE_MAX`).
const RECORD_LIMIT: usize = 900;

/// Kernel log levels (`linux/kern_levels.h`) with the facility `daemon` (3 << 3), by which journald distinguishes them from
/// the kernel's own messages.
const INFO: u8 = (3 << 3) | 6;
const WARNING: u8 = (3 << 3) | 4;

pub(crate) fn info(text: &str) {
    write(INFO, text);
}

pub(crate) fn warning(text: &str) {
    write(WARNING, text);
}

fn write(level: u8, text: &str) {
    let pid = std::process::id();
    let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") else {
        return;
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut end = line.len().min(RECORD_LIMIT);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        // One write is one record. A failure cannot be reported anywhere.
        let _ = log.write_all(format!("<{level}>guestagent[{pid}]: {}\n", &line[..end]).as_bytes());
    }
}
