//! Helpers for the output of commands.

use std::time::Duration;

use process::command::Output;
use testutils::{Instance, Leftover, poll};

/// The timeout for operations that take milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// An instance of the binary under test.
pub(crate) fn instance() -> Instance {
    Instance::new(env!("CARGO_BIN_EXE_rdd"))
}

/// The messages of log lines, without quotes and escapes.
pub(crate) fn messages(stderr: &str) -> Vec<String> {
    stderr
        .lines()
        .map(|line| {
            let (_, quoted) = line
                .split_once(" msg=\"")
                .unwrap_or_else(|| panic!("not a log line: {line}"));
            let mut message = String::new();
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => message.extend(chars.next()),
                    c => message.push(c),
                }
            }
            message
        })
        .collect()
}

/// Runs a command that must succeed, and returns its messages.
#[track_caller]
pub(crate) fn said(instance: &Instance, args: &[&str]) -> Vec<String> {
    let output = instance.rdd(args);
    assert!(
        output.status.success(),
        "rdd {}: {}",
        args.join(" "),
        stderr(&output)
    );
    // Results are on standard error, answers on standard output.
    messages(&if args.ends_with(&["status"]) {
        output.text()
    } else {
        stderr(&output)
    })
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The PID that `svc status` prints; 0 when stopped.
#[track_caller]
pub(crate) fn pid(instance: &Instance) -> u32 {
    let messages = said(instance, &["svc", "status"]);
    let line = messages
        .iter()
        .find(|line| line.contains("control plane PID is"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .expect("a PID")
}

/// The daemons of the instance.
pub(crate) fn daemons(instance: &Instance) -> Vec<Leftover> {
    let mut all = instance.leftovers();
    all.retain(|one| one.command.contains("svc serve"));
    all
}

/// Kills the daemon without giving it time to clean up.
#[track_caller]
pub(crate) fn kill_daemon(instance: &Instance) {
    let daemons = daemons(instance);
    assert_eq!(daemons.len(), 1, "{daemons:?}");
    daemons[0].process.signal(process::Signal::Kill).unwrap();
    poll(SOON, "the daemon's death", || {
        if daemons[0].process.is_running() {
            Err("alive")
        } else {
            Ok(())
        }
    });
}
