//! Helpers: their output and their limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use process::command::{CommandError, Run, Stream};

use crate::role::helper;
use crate::{PATIENCE, process_in, soon};

#[test]
fn run_returns_stdout_stderr_and_exit_status() {
    let output = helper("cat", "").input("in").run().unwrap();
    assert!(output.text().ends_with("in"), "{output:?}");
    assert_eq!(output.stderr.trim_ascii_end(), b"err");
    assert_eq!(helper("fail", "").run_any().unwrap().status.code(), Some(3));
}

#[tokio::test]
async fn failure_names_the_command_and_shows_the_end_of_its_stderr() {
    let error = helper("fail", "")
        .run_async()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(" role::play ") && error.ends_with(": no such disk"),
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
fn input_and_output_larger_than_a_pipe_pass_through() {
    let input = b"0123456789abcdef".repeat(64 * 1024);
    let output = helper("cat", "").input(input.clone()).run().unwrap();
    assert!(output.stdout.ends_with(&input));
    // A helper that does not read its input is not a failure.
    assert!(helper("nothing", "").input(input).run().is_ok());
}

#[test]
fn h08_hanging_helper_is_killed_with_its_descendants() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough for the helper to start its child.
    let limit = Duration::from_secs(15);
    let run = Run::new(std::env::current_exe().unwrap(), limit)
        .args(["--exact", "role::play", "--nocapture"])
        .env("CONTRACT_ROLE", "hang")
        .env("CONTRACT_ARG", folder.path());
    let (below, error) = std::thread::scope(|scope| {
        let running = scope.spawn(|| run.run().unwrap_err());
        (
            process_in(&folder.path().join("below")),
            running.join().unwrap(),
        )
    });
    assert!(matches!(&error, CommandError::TimedOut { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("--nocapture did not end within 15 s: killed it") && text.ends_with("stuck"),
        "{text}"
    );
    assert!(!below.is_running());
}

#[tokio::test]
async fn h08_h09_cancelling_kills_the_helper() {
    let folder = tempfile::tempdir().unwrap();
    let task = tokio::spawn(helper("hang", folder.path()).run_async());
    let file = folder.path().join("below");
    let below = tokio::task::spawn_blocking(move || process_in(&file))
        .await
        .unwrap();
    task.abort();
    assert!(below.wait_async(soon()).await.is_exited());
}

#[test]
fn output_beyond_the_limit_is_an_error_and_kills_the_helper() {
    let error = helper("flood", "").limit(1000).run().unwrap_err();
    assert!(
        matches!(error, CommandError::TooMuchOutput { limit: 1000, .. }),
        "{error}"
    );
    // The end of stderr is kept.
    let output = helper("flood-errors", "").run().unwrap();
    assert!(
        output.stderr.len() <= 128 * 1024 && output.stderr.trim_ascii_end().ends_with(b"end"),
        "{} bytes",
        output.stderr.len()
    );
}

#[test]
fn background_process_of_a_helper_does_not_delay_its_result() {
    let folder = tempfile::tempdir().unwrap();
    // The child keeps the pipes open for ever. Without a limit on reading after the helper's exit, this run would fail
    // at the helper's deadline.
    let output = helper("leave-background", folder.path()).run().unwrap();
    assert!(output.text().ends_with("done"));
    process_in(&folder.path().join("below"))
        .signal(process::Signal::Kill)
        .unwrap();
}

#[test]
fn observer_gets_output_as_it_arrives() {
    type Pieces = Vec<(Stream, Vec<u8>)>;
    let seen: Arc<Mutex<Pieces>> = Arc::default();
    let observed = Arc::clone(&seen);
    let run = helper("cat", "")
        .input("out")
        .observe(move |stream, piece| observed.lock().unwrap().push((stream, piece.to_vec())));
    let output = run.run().unwrap();
    let seen = seen.lock().unwrap().clone();
    let of = |wanted: Stream| -> Vec<u8> {
        let pieces = seen.iter().filter(|(stream, _)| *stream == wanted);
        pieces.flat_map(|(_, piece)| piece.clone()).collect()
    };
    assert!(of(Stream::Stdout).ends_with(b"out"));
    assert_eq!(of(Stream::Stdout), output.stdout);
    assert_eq!(of(Stream::Stderr), output.stderr);
}
