//! Standard output, for what a command prints. Messages go to the log on standard error.

use std::io::{self, Write as _};

use anyhow::Context;

/// Prints text. A reader that has closed the pipe (`rdd … | head -1`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes()).map(|_| ())
}

/// Prints text on standard error. A failure is ignored, because there is no other place to report it.
pub(crate) fn print_error(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints bytes; returns false when the reader has closed the pipe.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Waits this long, or until the reader of standard output closes the pipe; returns true then. So `rdd … -f | head -1`
/// ends although there is nothing more to print.
#[cfg(unix)]
pub(crate) fn reader_left_within(time: std::time::Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    // No events are requested, because poll reports a closed pipe in any case.
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
        Ok(events) => events > 0,
        Err(_) => {
            std::thread::park_timeout(time);
            false
        }
    }
}

/// Waits this long. A closed pipe is noticed when the next line is printed.
#[cfg(not(unix))]
pub(crate) fn reader_left_within(time: std::time::Duration) -> bool {
    std::thread::park_timeout(time);
    false
}

/// Formats rows as columns, as `kubectl get` does.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let lines = std::iter::once(header.map(str::to_owned)).chain(rows.iter().cloned());
    for line in lines {
        let mut padded = String::new();
        for (cell, width) in line.iter().zip(widths) {
            padded.push_str(cell);
            padded.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            ["demo".to_owned(), "True".to_owned()],
            ["longer-name".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["NAME", "RUNNING"], &rows),
            "NAME          RUNNING\ndemo          True\nlonger-name\n"
        );
    }
}
