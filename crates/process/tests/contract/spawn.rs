//! The start of a child: its input, output, environment, readiness report and lifetime.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use process::spawn::{Notifier, Spawn, Start};
use process::tree::kill_tree;
use process::{Exit, Process};

use crate::role::{READY, plain, run_as};
use crate::{PATIENCE, process_in, sleeper, soon};

/// Runs a role; returns its stdout, which begins with the test harness's own lines, and the content of its argument file.
fn output(role: &str, change: impl FnOnce(Spawn) -> Spawn) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (out, answer) = (folder.path().join("out"), folder.path().join("answer"));
    let spawn = change(run_as(role, &answer)).stdout(File::create(&out).unwrap());
    assert!(spawn.spawn().unwrap().wait(soon()).is_exited());
    let read = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    (read(&out), read(&answer))
}

#[test]
fn child_reads_only_the_input_that_it_is_given() {
    let (input, mut ours) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut ours, b"asked").unwrap();
    drop(ours);
    #[cfg(unix)]
    let input = std::os::fd::OwnedFd::from(input);
    #[cfg(windows)]
    let input = std::os::windows::io::OwnedHandle::from(input);
    let (read, _) = output("cat", |spawn| spawn.stdin(File::from(input)));
    assert!(read.ends_with("asked"), "{read}");
    let (read, _) = output("cat", |spawn| spawn);
    assert!(read.trim_end().ends_with("role::play ..."), "{read}");
}

/// A reader of the program's output does not wait for a background process that the program left.
#[test]
fn child_that_outlives_its_starter_does_not_keep_its_output_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut starter = plain("leave", folder.path());
    let mut starter = starter.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = starter.stdout.take().unwrap();
    let (sender, read) = std::sync::mpsc::channel();
    // Not joined: if the pipe never closes, the thread ends with this program.
    std::thread::spawn(move || sender.send(std::io::copy(&mut output, &mut std::io::sink())));
    let ended = read.recv_timeout(PATIENCE);
    assert!(starter.wait().unwrap().success());
    let left = process_in(&folder.path().join("leaves"));
    assert!(left.is_running());
    let tree = std::fs::read(folder.path().join("tree")).unwrap();
    kill_tree(&serde_json::from_slice(&tree).unwrap(), Duration::ZERO).unwrap();
    assert!(ended.is_ok(), "the pipe is open after its writer has ended");
}

#[test]
fn h02_settings_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let (_, env) = output("environment", |spawn| {
        spawn
            .env("A", "1")
            .env_only(["PATH", "SystemRoot"])
            .env("B", "2")
            .env_only(["HOME"])
            .env_remove("HOME")
            .cwd(folder.path())
            .subreaper()
    });
    let has = |start: &str| env.lines().any(|line| line.starts_with(start));
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert!(
        has("A=1")
            && has("B=2")
            && has("PATH=")
            && has("RDD_PROCESS_TREE=")
            && env.trim_end().ends_with(name),
        "{env}"
    );
    assert!(!has("HOME=") && !has("CARGO"), "{env}");
}

#[test]
fn h11_dropping_the_handle_leaves_the_child_running() {
    let child = sleeper();
    let (tree, identity) = (child.tree(), child.identity().clone());
    drop(child);
    let process = Process::open(&identity)
        .unwrap()
        .expect("the child still runs");
    assert!(
        !process
            .wait(Instant::now() + Duration::from_millis(20))
            .is_exited()
    );
    kill_tree(&tree, Duration::ZERO).unwrap();
    assert!(!process.is_running());
}

#[test]
fn readiness_reports_ready_refused_died_or_timed_out() {
    let folder = tempfile::tempdir().unwrap();
    let arg = folder.path().join("x");
    let start = |role: &str, deadline: Instant| {
        let mut child = run_as(role, &arg).readiness(READY).spawn().unwrap();
        (child.readiness().unwrap().wait(deadline), child)
    };
    let (word, child) = start("listen", soon());
    assert!(matches!(word, Start::Ready(message) if message.contains("pid")));
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(matches!(start("refuse", soon()).0, Start::Refused(why) if why == "no room; at all"));
    assert!(matches!(start("die", soon()).0, Start::Died));

    // A child that reports nothing.
    let (word, child) = start("family", Instant::now());
    assert!(matches!(word, Start::TimedOut));
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
}

#[test]
fn readiness_variable_that_names_no_pipe_is_rejected() {
    let file = tempfile::tempfile().unwrap();
    #[cfg(unix)]
    let number = std::os::fd::AsRawFd::as_raw_fd(&file).to_string();
    #[cfg(windows)]
    let number = (std::os::windows::io::AsRawHandle::as_raw_handle(&file) as usize).to_string();
    for value in ["", "x", "-1", "0", "2", "99999", &number] {
        assert!(Notifier::from_variable(value).is_err(), "{value}");
    }
    // The descriptor was rejected, but not closed.
    assert!(file.metadata().is_ok());
}

#[test]
fn missing_program_is_named_in_the_error() {
    let error = Spawn::new("no-such-program")
        .spawn()
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "cannot start no-such-program: it is not installed, or not on PATH"
    );
    let error = run_as("nothing", "")
        .cwd("/no/such/folder")
        .spawn()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot start ") && !error.contains("installed"),
        "{error}"
    );
}

#[test]
fn child_outlives_its_parent_and_is_killed_from_its_stored_tree() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = run_as("leave", folder.path()).spawn().unwrap();
    assert!(matches!(parent.wait(soon()), Exit::Exited(Some(status)) if status.success()));
    let below = ["middle", "stays", "leaves"].map(|name| process_in(&folder.path().join(name)));
    let tree = serde_json::from_slice(&std::fs::read(folder.path().join("tree")).unwrap()).unwrap();
    kill_tree(&tree, Duration::ZERO).unwrap();
    for process in below {
        assert!(process.wait(soon()).is_exited());
    }
}
