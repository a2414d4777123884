//! Runs this test program again as a child process, which can be killed and limited.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the role of the child; without it the tests for children return at once.
const ROLE: &str = "RDD_STORE_TEST_ROLE";
const DATABASE: &str = "RDD_STORE_TEST_DATABASE";

/// Starts the test `name` in a process of its own, which ignores SIGXFSZ: a write beyond a file size limit fails
/// there instead of killing the process. An ignored signal stays ignored across an exec.
pub(crate) fn start(name: &str, role: &str, database: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(environment(role, database))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The variables that make a process a child with this role.
pub(crate) fn environment(role: &str, database: &Path) -> [(&'static str, OsString); 2] {
    [(ROLE, role.into()), (DATABASE, database.into())]
}

/// The role and the database of this process, if it is a child.
pub(crate) fn role() -> Option<(String, std::path::PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, std::env::var_os(DATABASE)?.into()))
}

/// Reports to the parent. When this returns, the line is in the pipe, so a kill does not lose it.
pub(crate) fn report(word: &str, number: u64, text: &str) {
    let line = format!("{word}\t{number}\t{text}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Reads the child's next report and skips the output of the test harness.
pub(crate) fn next_report(output: &mut impl BufRead) -> Option<(String, u64, String)> {
    let mut line = String::new();
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let Some(line) = line.strip_suffix('\n') else {
            continue; // The kill interrupted the line.
        };
        let mut fields = line.splitn(3, '\t');
        if let (Some(word), Some(number), Some(text)) =
            (fields.next(), fields.next(), fields.next())
        {
            // The harness prints "test name ... " without a newline before the first report.
            let word = word.rsplit(' ').next().unwrap();
            return Some((word.to_owned(), number.parse().unwrap(), text.to_owned()));
        }
    }
}
