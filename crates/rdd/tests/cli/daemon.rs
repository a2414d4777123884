//! Start, concurrency and crash of the daemon (HAZARDS.md).

use std::fs;
use std::thread;

use testutils::{Bystander, Instance, poll};

use crate::said::{SOON, daemons, instance, kill_daemon, messages, pid, said, stderr};

#[test]
fn h34_concurrent_starts_leave_one_daemon() {
    let instance = instance();
    for round in 0..20 {
        thread::scope(|scope| {
            let starts: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| instance.rdd(&["svc", "start"])))
                .collect();
            for start in starts {
                let output = start.join().unwrap();
                assert!(
                    output.status.success(),
                    "round {round}: {}",
                    stderr(&output)
                );
                let messages = messages(&stderr(&output));
                assert!(
                    messages.last().unwrap().ends_with("control plane is ready"),
                    "{messages:?}"
                );
            }
        });
        assert_eq!(daemons(&instance).len(), 1, "round {round}");
        if round % 2 == 0 {
            said(&instance, &["svc", "stop"]);
        } else {
            kill_daemon(&instance);
        }
    }
}

#[test]
fn h34_second_daemon_names_the_first_and_exits() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    let error = instance.rdd_fails(&["svc", "serve"], 1);
    assert!(error.contains("is already running"), "{error}");
    assert!(error.contains(&format!("(PID {first})")), "{error}");
    assert_eq!(pid(&instance), first);
}

#[test]
fn foreground_daemon_serves_commands_like_a_background_one() {
    let instance = instance();
    thread::scope(|scope| {
        let serve = scope.spawn(|| instance.rdd(&["svc", "serve", "--log-level=info"]));
        poll(SOON, "the daemon in the foreground", || {
            if instance.dir().join("ready.json").exists() {
                Ok(())
            } else {
                Err("not ready")
            }
        });
        let messages = said(&instance, &["svc", "start"]);
        assert!(messages[0].ends_with("is already running"), "{messages:?}");
        said(&instance, &["svc", "stop"]);
        let output = serve.join().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("asked to stop"),
            "{}",
            stderr(&output)
        );
    });
}

#[test]
fn h15_files_of_a_killed_daemon_do_not_prevent_a_start() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    for _ in 0..3 {
        kill_daemon(&instance);
        assert!(
            instance.dir().join("rdd.pid").exists() && instance.dir().join("ready.json").exists()
        );
        assert_eq!(pid(&instance), 0);
        fs::write(instance.dir().join("config.yaml.1-0.tmp"), "half").unwrap();
        said(&instance, &["svc", "start"]);
        assert!(!instance.dir().join("config.yaml.1-0.tmp").exists());
    }
    kill_daemon(&instance);
    let messages = said(&instance, &["svc", "stop"]);
    assert!(messages[0].ends_with("is already stopped"), "{messages:?}");
}

/// A killed process holds its lock until the kernel has removed it. It does not count as a running daemon.
#[test]
fn h15_start_right_after_a_kill_gets_a_running_daemon() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    for round in 0..20 {
        let killed = daemons(&instance).pop().expect("a daemon").process;
        killed.signal(process::Signal::Kill).unwrap();
        if round % 2 == 0 {
            said(&instance, &["svc", "start"]);
            let now = daemons(&instance).pop().expect("a daemon").process;
            assert_ne!(now.identity(), killed.identity());
        } else {
            instance.rdd_ok(&["limavm", "list"]);
        }
    }
}

/// A stopping daemon reports it until its lock is free, so that no command waits for it to become ready.
#[test]
fn start_right_after_a_stop_without_wait_gets_a_new_daemon() {
    let instance = instance();
    for _ in 0..10 {
        said(&instance, &["svc", "start"]);
        let old = daemons(&instance).pop().expect("a daemon").process;
        said(&instance, &["svc", "stop", "--wait=false"]);
        said(&instance, &["svc", "start", "--wait=false"]);
        poll(SOON, "the next daemon", || {
            match daemons(&instance).pop().map(|one| one.process) {
                Some(now) if now.identity() != old.identity() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

/// A daemon can exit while it starts. A command that waits for it must notice.
#[test]
fn start_that_waits_for_a_daemon_that_exits_starts_the_next_one() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    for _ in 0..3 {
        fs::remove_file(instance.dir().join("ready.json")).unwrap();
        let ending = daemons(&instance).pop().expect("a daemon").process;
        thread::scope(|scope| {
            let starting = scope.spawn(|| said(&instance, &["svc", "start"]));
            poll(SOON, "the command to run", || {
                let all = instance.leftovers();
                match all.iter().any(|one| one.command.contains("svc start")) {
                    true => Ok(()),
                    false => Err("not yet"),
                }
            });
            ending.signal(process::Signal::Kill).unwrap();
            let messages = starting.join().unwrap();
            assert!(
                messages.last().unwrap().ends_with("is ready"),
                "{messages:?}"
            );
        });
        let now = daemons(&instance).pop().expect("a daemon").process;
        assert_ne!(now.identity(), ending.identity());
    }
}

#[test]
fn h06_pid_in_a_file_is_never_trusted() {
    let bystander = Bystander::new();
    let instance = instance();
    said(&instance, &["svc", "create"]);
    let identity = serde_json::to_value(bystander.identity()).unwrap();
    let mut holder = identity.clone();
    holder["label"] = "the control plane".into();
    let forge = |pid: &str| {
        fs::write(instance.dir().join("rdd.pid"), pid).unwrap();
        fs::write(
            instance.dir().join("ready.json"),
            format!(r#"{{"daemon":{identity},"port":1}}"#),
        )
        .unwrap();
    };
    for number in [
        bystander.pid().to_string(),
        "0".into(),
        "1".into(),
        "-1".into(),
        String::new(),
        "x".into(),
    ] {
        // No daemon runs, whatever the files say.
        forge(&number);
        fs::write(instance.dir().join("rdd.lock"), holder.to_string()).unwrap();
        assert_eq!(pid(&instance), 0, "{number:?}");
        let messages = said(&instance, &["svc", "stop"]);
        assert!(messages[0].ends_with("is already stopped"), "{messages:?}");
        said(&instance, &["svc", "start"]);
        // The daemon runs, and the files name another process.
        forge(&number);
        assert_ne!(pid(&instance), bystander.pid());
        said(&instance, &["svc", "stop"]);
        instance.assert_no_leftovers();
        bystander.assert_untouched();
    }
    forge(&bystander.pid().to_string());
    said(&instance, &["svc", "delete"]);
    bystander.assert_untouched();
}

#[test]
fn daemon_that_dies_while_starting_is_reported_with_its_log() {
    let mut instance = instance();
    said(&instance, &["svc", "create"]);
    instance
        .env("RDD_CRASH_POINT", "file.synced")
        .env("RDD_LOG_TITLE", "the last words");
    let error = instance.rdd_fails(&["svc", "start"], 1);
    assert!(error.contains("ended while it was starting"), "{error}");
    assert!(
        error.contains("rdd.stderr.log") && error.contains("the last words"),
        "{error}"
    );
    instance.env("RDD_CRASH_POINT", "");
    said(&instance, &["svc", "start"]);
}

#[test]
fn damaged_database_is_named_in_the_error_of_the_command() {
    let instance = instance();
    said(&instance, &["svc", "create"]);
    fs::write(instance.dir().join("rdd.db"), vec![b'x'; 8192]).unwrap();
    let error = instance.rdd_fails(&["svc", "start"], 1);
    assert!(
        error.contains("cannot start") && error.contains("rdd.db"),
        "{error}"
    );
    fs::remove_file(instance.dir().join("rdd.db")).unwrap();
    said(&instance, &["svc", "start"]);
}

#[test]
fn instances_share_nothing() {
    let one = instance();
    let two = Instance::new(env!("CARGO_BIN_EXE_rdd"));
    thread::scope(|scope| {
        for instance in [&one, &two] {
            scope.spawn(|| said(instance, &["svc", "start"]));
        }
    });
    let second = pid(&two);
    said(&one, &["svc", "delete"]);
    assert_eq!(pid(&two), second);
}
