//! What a child is given, and what it is spared.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use process::Exit;
use process::spawn::{Spawn, Start};
use process::tree::kill_tree;

use crate::role::{READY, run_as};
use crate::{PATIENCE, process_in, soon};

/// What the script prints.
fn output(script: &str, change: impl FnOnce(Spawn) -> Spawn) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let spawn = Spawn::new("sh").args(["-c", script]);
    let spawn = change(spawn)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap());
    let mut child = spawn.spawn().unwrap();
    assert!(child.wait(soon()).is_exited());
    assert_eq!(std::fs::read_to_string(err).unwrap(), "");
    std::fs::read_to_string(out).unwrap()
}

#[test]
fn h01_a_child_leads_a_session_and_a_group_of_its_own() {
    // Field 1 is the PID, 5 the process group, 6 the session (proc_pid_stat(5)).
    let fields = output("cat /proc/$$/stat | cut -d' ' -f1,5,6", |spawn| spawn);
    let fields: Vec<&str> = fields.split_whitespace().collect();
    assert_eq!(fields, [fields[0]; 3]);
}

#[test]
fn a_child_reads_what_it_is_given() {
    let (input, mut ours) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut ours, b"asked\n").unwrap();
    drop(ours);
    let input = File::from(std::os::fd::OwnedFd::from(input));
    assert_eq!(output("cat", |spawn| spawn.stdin(input)), "asked\n");
}

#[test]
fn a_child_has_no_input_and_no_descriptor_of_ours() {
    // Open in us as our own parent's carelessness might leave it.
    let careless = File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let open = output("ls /proc/$$/fd; cat; readlink /proc/$$/fd/0", |spawn| spawn);
    assert!(
        !open
            .lines()
            .any(|line| line == careless.as_raw_fd().to_string()),
        "{open}"
    );
    assert!(open.ends_with("/dev/null\n"), "{open}");
    // What is passed on purpose is there.
    let passed = output("readlink /proc/$$/fd/$FD", |mut spawn| {
        let fd = spawn.pass_fd(careless.try_clone().unwrap().into()).unwrap();
        spawn.env("FD", fd.to_string())
    });
    assert_eq!(passed, "/dev/zero\n");
}

#[test]
fn h02_settings_add_up() {
    let env = output("env; pwd", |spawn| {
        spawn
            .env("A", "1")
            .env_only(["PATH"])
            .env("B", "2")
            .env_only(["HOME"])
            .env_remove("HOME")
            .cwd("/")
            .subreaper()
    });
    let has = |start: &str| env.lines().any(|line| line.starts_with(start));
    assert!(
        has("A=1") && has("B=2") && has("PATH=") && has("RDD_PROCESS_TREE=") && has("/"),
        "{env}"
    );
    assert!(!has("HOME=") && !has("CARGO"), "{env}");
}

#[test]
fn h11_dropping_the_handle_leaves_the_child_alone_and_somebody_reaps_it() {
    let child = Spawn::new("sleep").arg("1000").spawn().unwrap();
    let (tree, identity) = (child.tree(), child.identity().clone());
    drop(child);
    let process = process::Process::open(&identity)
        .unwrap()
        .expect("it runs on");
    assert!(
        !process
            .wait(Instant::now() + Duration::from_millis(20))
            .is_exited()
    );
    kill_tree(&tree, Duration::ZERO).unwrap();
    let mut others = Vec::new();
    testutils::poll(PATIENCE, "the zombie's end", || {
        others.push(Spawn::new("true").spawn().unwrap());
        if Path::new(&format!("/proc/{}", identity.pid())).exists() {
            Err("still there")
        } else {
            Ok(())
        }
    });
}

#[test]
fn readiness_is_one_of_five_things() {
    let folder = tempfile::tempdir().unwrap();
    let arg = folder.path().join("x");
    let start = |role: &str, deadline: Instant| {
        let mut child = run_as(role, &arg).readiness(READY).spawn().unwrap();
        (child.readiness().unwrap().wait(deadline), child)
    };
    let (word, child) = start("listen", soon());
    assert!(matches!(word, Start::Ready(message) if message.is_empty()));
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(matches!(start("refuse", soon()).0, Start::Refused(why) if why == "no room; at all"));
    assert!(matches!(start("die", soon()).0, Start::Died));

    let spawn = Spawn::new("sleep").arg("1000").readiness(READY);
    let mut child = spawn.spawn().unwrap();
    let pipe = child.readiness().unwrap();
    assert!(matches!(pipe.wait(Instant::now()), Start::TimedOut));
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
}

#[test]
fn a_readiness_variable_that_is_not_a_pipe_is_refused() {
    let file = File::open("/dev/null").unwrap();
    for value in [
        "",
        "x",
        "-1",
        "0",
        "2",
        "99999",
        &file.as_raw_fd().to_string(),
    ] {
        assert!(
            process::spawn::Notifier::from_variable(value).is_err(),
            "{value}"
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Spawn::new("no-such-program")
        .spawn()
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "cannot start no-such-program: it is not installed, or not on PATH"
    );
    let error = Spawn::new("true")
        .cwd("/no/such/folder")
        .spawn()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot start true: ") && !error.contains("installed"),
        "{error}"
    );
}

#[test]
fn a_child_outlives_its_parent_and_is_ended_from_what_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = run_as("leave", folder.path()).spawn().unwrap();
    assert!(matches!(parent.wait(soon()), Exit::Exited(Some(status)) if status.success()));
    let grandchild = process_in(&folder.path().join("pid"));
    let tree = serde_json::from_slice(&std::fs::read(folder.path().join("tree")).unwrap()).unwrap();
    kill_tree(&tree, Duration::ZERO).unwrap();
    assert!(grandchild.wait(soon()).is_exited());
}
