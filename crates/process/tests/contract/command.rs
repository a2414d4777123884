//! Helpers, their output and their limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use process::command::{CommandError, Run, Stream};

use crate::{PATIENCE, process_in, soon};

fn sh(script: &str) -> Run {
    Run::new("sh", PATIENCE).args(["-c", script])
}

#[test]
fn output_error_and_status_come_back() {
    let output = sh("cat; echo err >&2").input("in").run().unwrap();
    assert_eq!(
        (output.text().as_str(), output.stderr.as_slice()),
        ("in", b"err\n".as_slice())
    );
    let any = sh("exit 7").run_any().unwrap();
    assert_eq!(any.status.code(), Some(7));
}

#[tokio::test]
async fn a_failure_names_the_command_and_shows_the_end_of_its_errors() {
    let error = sh("echo no such disk >&2; exit 3")
        .run_async()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("sh -c") && error.ends_with("failed (exit status: 3): no such disk"),
        "{error}"
    );
    let error = Run::new("no-such-helper", PATIENCE)
        .run_async()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no-such-helper: it is not installed"),
        "{error}"
    );
}

#[test]
fn more_input_and_output_than_a_pipe_holds_passes_through() {
    let input = b"0123456789abcdef".repeat(64 * 1024);
    let output = Run::new("cat", PATIENCE)
        .input(input.clone())
        .run()
        .unwrap();
    assert!(output.stdout == input);
    // A helper that reads nothing is no failure.
    assert!(Run::new("true", PATIENCE).input(input).run().is_ok());
}

#[test]
fn h08_a_helper_that_never_returns_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let script = "setsid sleep 1000 & echo $! > below; echo stuck >&2; exec >&- 2>&-; sleep 1000";
    let run = Run::new("sh", Duration::from_millis(500))
        .args(["-c", script])
        .cwd(folder.path());
    let error = run.run().unwrap_err();
    assert!(matches!(&error, CommandError::TimedOut { .. }));
    let text = error.to_string();
    assert!(
        text.contains("sleep 1000 did not end within 500 ms: killed it: stuck"),
        "{text}"
    );
    let pid = std::fs::read_to_string(folder.path().join("below")).unwrap();
    assert!(
        !std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim()))
            .is_ok_and(|line| line.contains("sleep"))
    );
}

/// Cleaning up takes what time it needs, though nobody waits for it any longer.
#[tokio::test]
async fn h08_h09_cancelling_kills_the_helper() {
    let folder = tempfile::tempdir().unwrap();
    let run = sh("sleep 1000 & echo $! > below; wait").cwd(folder.path());
    let task = tokio::spawn(run.run_async());
    let file = folder.path().join("below");
    let below = tokio::task::spawn_blocking(move || process_in(&file))
        .await
        .unwrap();
    task.abort();
    assert!(below.wait_async(soon()).await.is_exited());
}

#[test]
fn output_beyond_the_limit_is_an_error_and_ends_it() {
    let error = Run::new("cat", PATIENCE)
        .arg("/dev/zero")
        .limit(1000)
        .run()
        .unwrap_err();
    assert!(
        matches!(error, CommandError::TooMuchOutput { limit: 1000, .. }),
        "{error}"
    );
    // Of standard error the end is kept.
    let output = sh("head -c 1000000 /dev/zero >&2; echo end >&2")
        .run()
        .unwrap();
    assert!(output.stderr.len() <= 128 * 1024 && output.stderr.ends_with(b"end\n"));
}

#[test]
fn what_a_helper_leaves_in_the_background_does_not_hold_us_up() {
    let folder = tempfile::tempdir().unwrap();
    // Without a limit of its own on what comes after the end, this would take the hour.
    let run = Run::new("sh", Duration::from_secs(3600))
        .args(["-c", "sleep 1000 & echo $! > below; echo done"]);
    let output = run.cwd(folder.path()).run().unwrap();
    assert_eq!(output.text(), "done");
    process_in(&folder.path().join("below"))
        .signal(process::Signal::Kill)
        .unwrap();
}

#[test]
fn output_is_shown_as_it_comes() {
    type Pieces = Vec<(Stream, Vec<u8>)>;
    let seen: Arc<Mutex<Pieces>> = Arc::default();
    let observed = Arc::clone(&seen);
    let run = sh("echo out; echo err >&2")
        .observe(move |stream, piece| observed.lock().unwrap().push((stream, piece.to_vec())));
    run.run().unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(
        seen,
        [
            (Stream::Stdout, b"out\n".to_vec()),
            (Stream::Stderr, b"err\n".to_vec())
        ]
    );
}
