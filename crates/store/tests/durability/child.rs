//! This test program again as a child process, so that it can be killed and limited.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The role of the child; without it the tests that are children do nothing.
const ROLE: &str = "RDD_STORE_TEST_ROLE";
const DATABASE: &str = "RDD_STORE_TEST_DATABASE";

/// Starts the test `name` in a process of its own. A write beyond a file size limit fails in it, instead of
/// ending it: what is ignored stays so across an exec.
pub(crate) fn start(name: &str, role: &str, database: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(DATABASE, database)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// In the child: its role and its database.
pub(crate) fn role() -> Option<(String, std::path::PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, std::env::var_os(DATABASE)?.into()))
}

/// In the child: tells the parent. The line is in the pipe when this returns, whatever happens then.
pub(crate) fn tell(word: &str, number: u64, text: &str) {
    let line = format!("{word}\t{number}\t{text}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// In the parent: the next line that the child told, past what the test harness prints.
pub(crate) fn hear(output: &mut impl BufRead) -> Option<(String, u64, String)> {
    let mut line = String::new();
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let Some(line) = line.strip_suffix('\n') else {
            continue; // cut off by the kill
        };
        let mut fields = line.splitn(3, '\t');
        if let (Some(word), Some(number), Some(text)) =
            (fields.next(), fields.next(), fields.next())
        {
            // The harness's "test name ... " has no newline before the first line that is told.
            let word = word.rsplit(' ').next().unwrap();
            return Some((word.to_owned(), number.parse().unwrap(), text.to_owned()));
        }
    }
}
