//! Standard output: what a command was asked to print. Everything else goes to the log on standard error.

use std::io::{self, Write as _};

use anyhow::Context;

/// Prints text. A reader that has seen enough (`rdd … | head -1`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes()).map(|_| ())
}

/// Prints text on standard error. A failure is ignored, because there is no other place to report it.
pub(crate) fn print_error(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints bytes; `false` when nobody reads them any more.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Waits this long, or until nobody reads standard output any more, which is the end of `rdd … -f | head -1` also while
/// there is nothing to print; true then.
#[cfg(unix)]
pub(crate) fn reader_left_within(time: std::time::Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    // Asked for nothing: that the other end is gone is told always.
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut fds, Timespec::try_from(time).ok().as_ref()) {
        Ok(told) => told > 0,
        Err(_) => {
            std::thread::park_timeout(time);
            false
        }
    }
}

/// Waits this long. Who is gone is noticed with the next line.
#[cfg(not(unix))]
pub(crate) fn reader_left_within(time: std::time::Duration) -> bool {
    std::thread::park_timeout(time);
    false
}

/// Prints rows as columns, the way `kubectl get` does.
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
    fn columns_line_up() {
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
