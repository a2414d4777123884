//! The part of the contract that has no counterpart on Windows: sessions, descriptors, modes, signals, zombies.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use process::command::{CommandError, Run};
use process::spawn::{Child, Spawn};
use process::tree::kill_tree;
use process::{Identity, Process, Signal, file};

use crate::role::run_as;
use crate::{PATIENCE, ready, soon, wait_for_file};

pub(crate) fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Opens the process whose PID a script wrote into `file`, on a line by itself.
pub(crate) fn process_in(file: &Path) -> Process {
    let pid: u32 = wait_for_file(file).trim_end().parse().unwrap();
    let identity = Identity::of(pid).unwrap().unwrap();
    Process::open(&identity).unwrap().unwrap()
}

/// Runs the script and returns its stdout.
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
fn h01_child_leads_its_own_session_and_group() {
    // Field 1 is the PID, 5 the process group, 6 the session (proc_pid_stat(5)).
    let fields = output("cat /proc/$$/stat | cut -d' ' -f1,5,6", |spawn| spawn);
    let fields: Vec<&str> = fields.split_whitespace().collect();
    assert_eq!(fields, [fields[0]; 3]);
}

/// The starter ignores and blocks signals, limits the size of files, has an open umask and another working directory.
#[cfg(target_os = "linux")]
#[test]
fn child_inherits_no_process_state_of_its_starter() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut shell = std::process::Command::new("sh");
    // `env` blocks signals (coreutils 8.31); the soft limit is large enough for the test's own files.
    let script = "trap '' INT QUIT CHLD TERM HUP; umask 000; ulimit -S -f 1000; \
                  exec env --block-signal=TERM,CHLD,USR1 \"$@\"";
    shell
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .current_dir(folder.path());
    let role = "start-a-child-that-prints-its-state";
    let output = crate::role::plain_below(shell, role, &state)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(state).unwrap();
    for set in ["SigBlk:", "SigIgn:"] {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(set))
            .unwrap();
        let signals = u64::from_str_radix(line.trim(), 16).unwrap();
        // Without the real-time signals, some of which the C library reserves.
        assert_eq!(signals & 0x7fff_ffff, 0, "{text}");
    }
    assert!(
        text.contains("fsize unlimited umask 0077 cwd /\n"),
        "{text}"
    );
}

#[test]
fn child_has_no_input_and_inherits_no_descriptor() {
    // Not close-on-exec, like a descriptor that a careless parent left open.
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
    // A descriptor that is passed on purpose is open.
    let passed = output("readlink /proc/$$/fd/$FD", |mut spawn| {
        let fd = spawn.pass_fd(careless.try_clone().unwrap().into()).unwrap();
        spawn.env("FD", fd.to_string())
    });
    assert_eq!(passed, "/dev/zero\n");
}

#[test]
fn h08_helper_that_closed_its_outputs_is_killed_at_its_deadline() {
    let script = "exec >&- 2>&-; sleep 1000";
    let run = Run::new("sh", Duration::from_millis(500)).args(["-c", script]);
    let error = run.run().unwrap_err();
    assert!(matches!(&error, CommandError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("did not end within 500 ms"));
}

#[test]
fn file_gets_the_requested_mode_even_if_it_existed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "open to all").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    file::write_atomic(&path, b"secret", 0o600).unwrap();
    assert_eq!(mode(&path), 0o600);
    file::write_atomic(&path, b"public", 0o644).unwrap();
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn private_folder_gets_mode_0700_and_existing_parents_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("above");
    std::fs::create_dir(&above).unwrap();
    std::fs::set_permissions(&above, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = above.join("a/b");
    file::create_private_dir(&path).unwrap();
    assert_eq!(
        (mode(&path), mode(&above.join("a")), mode(&above)),
        (0o700, 0o700, 0o755)
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    file::create_private_dir(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn h07_dropped_child_is_reaped() {
    let child = Spawn::new("sleep").arg("1000").spawn().unwrap();
    let (tree, identity) = (child.tree(), child.identity().clone());
    drop(child);
    kill_tree(&tree, Duration::ZERO).unwrap();
    let mut others: Vec<Child> = Vec::new();
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
fn h12_terminal_signals_are_distinguished() {
    for (signal, reason) in [
        (Signal::Interrupt, "Interrupted"),
        (Signal::Hangup, "TerminalClosed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, _) = ready(run_as("listen", folder.path().join("one")));
        child.process().signal(signal).unwrap();
        assert_eq!(
            wait_for_file(&folder.path().join("one.heard")),
            format!("{reason}\n")
        );
        assert!(child.wait(soon()).is_exited());
    }
}

#[test]
fn h03_orphan_without_a_mark_is_found_by_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sh -c 'env -i sleep 1000 & echo $! > below' & wait; echo > orphaned; sleep 1000";
    let script = script.replace("env -i", "env -i PATH=\"$PATH\"");
    let root = Spawn::new("sh")
        .args(["-c", &script])
        .cwd(folder.path())
        .spawn()
        .unwrap();
    wait_for_file(&folder.path().join("orphaned"));
    let below = process_in(&folder.path().join("below"));
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    assert!(!below.is_running());
}

#[test]
fn a_tree_that_forks_all_the_time_ends_too() {
    // Enough forks to outlast the kill on any machine, and few enough to end soon if this test fails.
    let script = "i=0; while [ $((i += 1)) -le 2000 ]; do \
                  setsid sh -c 'sleep 0.05; sh -c \"sleep 100\"' & sleep 0.001; done; wait";
    let child = Spawn::new("sh").args(["-c", script]).spawn().unwrap();
    testutils::poll(PATIENCE, "a crowd", || {
        let count = child.tree().members().unwrap().len();
        if count > 20 { Ok(()) } else { Err(count) }
    });
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(child.tree().members().unwrap().is_empty());
}

/// Starts a chain of processes, each of which starts the next one and ends, so that a process which is found is gone before
/// it can be stopped. The chain ends when `folder` is removed, or after 300,000 processes if the test failed.
#[expect(unsafe_code, reason = "programs would be too slow")]
pub(crate) fn storm(folder: &Path, leaves: bool) {
    let going = folder.join("going");
    std::fs::write(&going, "\n").unwrap();
    let going = std::ffi::CString::new(going.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: after the fork of a program with threads only system calls are made; nothing allocates or locks.
    unsafe {
        if libc::fork() != 0 {
            return;
        }
        for _ in 0..300_000 {
            if libc::access(going.as_ptr(), libc::F_OK) != 0 || libc::fork() != 0 {
                libc::_exit(0);
            }
            if leaves {
                libc::setsid();
            }
        }
        libc::_exit(0)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn processes_that_fork_faster_than_they_are_listed_end_with_their_session() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).flat_map(str::parse::<u32>);
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    if version < (6, 9) {
        let reason = format!(
            "Linux {} cannot signal a group that is held",
            release.trim()
        );
        return testutils::skip(testutils::Need::GroupSignals, reason);
    }
    let folder = tempfile::tempdir().unwrap();
    let (ended, all) = std::io::pipe().unwrap();
    let root = run_as("storm", folder.path())
        .stdout(File::from(std::os::fd::OwnedFd::from(all)))
        .spawn()
        .unwrap();
    wait_for_file(&folder.path().join("going"));
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    // Every process of the chain has the pipe open, so the pipe closes when the last of them ends.
    let limit = rustix::event::Timespec {
        tv_sec: PATIENCE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    let mut fds = [rustix::event::PollFd::new(
        &ended,
        // Only the hang-up, because the test harness also printed into the pipe.
        rustix::event::PollFlags::empty(),
    )];
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)).unwrap(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn tree_larger_than_the_descriptor_limit_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    let output = crate::role::plain_below(limited, "kill-a-crowd", folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
}

/// Kills more processes than it can have descriptors. Each has its own session, so that no group signal reaches them all.
#[cfg(target_os = "linux")]
pub(crate) fn kill_a_crowd(folder: &Path) {
    let script =
        "i=0; while [ $((i += 1)) -le 400 ]; do setsid sleep 1000 & done; echo > all; wait";
    let root = Spawn::new("sh")
        .args(["-c", script])
        .cwd(folder)
        .spawn()
        .unwrap();
    wait_for_file(&folder.join("all"));
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    assert!(root.tree().members().unwrap().is_empty());
}

/// In a container the session leader is often outside the PID namespace, and `getsid` returns 0.
#[cfg(target_os = "linux")]
#[test]
fn process_whose_session_leader_is_outside_its_pid_namespace_has_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("mark");
    let namespace = ["--user", "--map-root-user", "--pid", "--fork"];
    let allowed = std::process::Command::new("unshare")
        .args(namespace)
        .arg("true")
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return testutils::skip(
            testutils::Need::Namespaces,
            "no user and PID namespace is allowed",
        );
    }
    let mut unshare = std::process::Command::new("unshare");
    unshare
        .args(namespace)
        .arg(std::env::current_exe().unwrap());
    let output = crate::role::plain_below(unshare, "mark", &answer)
        .env(process::tree::VARIABLE, "0123456789abcdef")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "None");
}
