//! The daemon's life and death (HAZARDS.md).

use std::fs;
use std::thread;

use testutils::{Bystander, Instance, poll};

use crate::said::{SOON, daemons, instance, kill_daemon, messages, pid, said, stderr};

#[test]
fn h34_of_many_that_start_at_once_one_becomes_the_daemon() {
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
fn h34_a_second_daemon_says_who_is_there_and_ends() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    let error = instance.rdd_fails(&["svc", "serve"], 1);
    assert!(error.contains("is already running"), "{error}");
    assert!(error.contains(&format!("(PID {first})")), "{error}");
    assert_eq!(pid(&instance), first);
}

#[test]
fn a_daemon_in_the_foreground_is_one_like_any_other() {
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
fn h15_what_a_killed_daemon_leaves_does_not_matter() {
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

/// A process that was killed holds its lock until the kernel has cleared it away. Such a one is no daemon that runs.
#[test]
fn h15_who_comes_right_after_a_kill_gets_a_daemon_that_lives() {
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

/// A daemon that stops says so until its lock is free: nobody takes it for one that starts.
#[test]
fn who_starts_right_after_a_stop_without_waiting_gets_a_new_daemon() {
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

/// A daemon may end while it starts: who waits for it then waits for nobody.
#[test]
fn who_waits_for_a_daemon_that_ends_starts_the_next_one() {
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
fn h06_no_number_in_a_file_is_believed() {
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
        // Nobody lives, whatever the files say.
        forge(&number);
        fs::write(instance.dir().join("rdd.lock"), holder.to_string()).unwrap();
        assert_eq!(pid(&instance), 0, "{number:?}");
        let messages = said(&instance, &["svc", "stop"]);
        assert!(messages[0].ends_with("is already stopped"), "{messages:?}");
        said(&instance, &["svc", "start"]);
        // The daemon lives, and the files name somebody else.
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
fn a_daemon_that_dies_while_starting_is_told_with_its_log() {
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
fn a_damaged_database_is_named_in_the_commands_error() {
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
