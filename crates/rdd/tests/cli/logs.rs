//! Logs: their place, their content and how many are kept.

use std::fs;

use testutils::Instance;
#[cfg(unix)]
use testutils::poll;

#[cfg(unix)]
use crate::said::SOON;
use crate::said::{instance, said, stderr};

fn logs_of(instance: &Instance) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(instance.log_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rdd.stderr"))
        .collect();
    names.sort();
    names
}

fn restart(instance: &Instance) {
    said(instance, &["svc", "start"]);
    said(instance, &["svc", "stop"]);
}

#[test]
fn five_old_logs_are_kept() {
    let mut instance = instance();
    for number in 1..=7 {
        instance.env("RDD_LOG_TITLE", format!("start {number}"));
        restart(&instance);
    }
    assert_eq!(
        logs_of(&instance),
        [
            "rdd.stderr.2.log",
            "rdd.stderr.3.log",
            "rdd.stderr.4.log",
            "rdd.stderr.5.log",
            "rdd.stderr.6.log",
            "rdd.stderr.log"
        ]
    );
    let first_line = |name: &str| {
        fs::read_to_string(instance.log_dir().join(name))
            .unwrap()
            .lines()
            .next()
            .map(str::to_owned)
    };
    assert_eq!(first_line("rdd.stderr.log").unwrap(), "=== start 7 ===");
    assert_eq!(first_line("rdd.stdout.6.log").unwrap(), "=== start 6 ===");
}

#[test]
fn all_logs_are_kept_on_request_even_by_delete() {
    let mut instance = instance();
    instance.env("RDD_KEEP_LOGS", "1");
    for _ in 0..7 {
        restart(&instance);
    }
    assert_eq!(logs_of(&instance).len(), 7);
    said(&instance, &["svc", "delete"]);
    assert!(!instance.dir().exists());
    assert_eq!(logs_of(&instance).len(), 7);
}

#[test]
fn logs_of_vms_are_kept_on_request_by_delete_and_reset() {
    let mut instance = instance();
    instance.env("RDD_KEEP_LOGS", "1");
    for (number, command) in ["reset", "delete"].into_iter().enumerate() {
        said(&instance, &["svc", "create"]);
        let vm = instance.lima_home().join("web");
        fs::create_dir_all(&vm).unwrap();
        fs::write(vm.join("lima.yaml"), "images: []\n").unwrap();
        fs::write(vm.join("ha.stderr.log"), command).unwrap();
        said(&instance, &["svc", command]);
        assert!(!vm.exists());
        let kept = instance
            .log_dir()
            .join(format!("vms/web.{}/ha.stderr.log", number + 1));
        assert_eq!(fs::read_to_string(kept).unwrap(), command);
    }
}

#[test]
fn log_level_applies_to_the_daemon_and_the_flag_overrides_it() {
    let mut instance = instance();
    instance.env("RDD_LOG_LEVEL", "warning");
    restart(&instance);
    assert!(
        !instance
            .rdd_ok(&["svc", "logs"])
            .contains("Marked control plane as ready")
    );
    said(&instance, &["--log-level=debug", "svc", "start"]);
    let log = instance.rdd_ok(&["svc", "logs"]);
    assert!(
        log.contains("level=info msg=\"Marked control plane as ready\""),
        "{log}"
    );
    // Answers are printed at every log level.
    assert_eq!(
        said(&instance, &["--log-level", "fatal", "svc", "status"]).len(),
        3
    );
    assert!(said(&instance, &["--log-level", "error", "svc", "stop"]).is_empty());
}

#[test]
fn h43_unknown_level_names_the_valid_ones() {
    let mut instance = instance();
    let error = instance.rdd_fails(&["--log-level=loud", "svc", "status"], 2);
    assert!(
        error.contains("loud") && error.contains("warning"),
        "{error}"
    );
    instance.env("RDD_LOG_LEVEL", "loud");
    let error = instance.rdd_fails(&["svc", "start"], 1);
    for part in [
        "RDD_LOG_LEVEL",
        "loud",
        "fatal",
        "error",
        "warn",
        "info",
        "debug",
        "trace",
    ] {
        assert!(error.contains(part), "{error}");
    }
    instance.env("RDD_LOG_LEVEL", "error");
}

#[test]
fn json_format_writes_one_object_on_each_line() {
    let instance = instance();
    let output = instance.rdd(&["svc", "start", "--log-format", "json", "--log-level=info"]);
    let text = format!("{}{}", stderr(&output), instance.rdd_ok(&["svc", "logs"]));
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().any(|line| {
        line["msg"]
            .as_str()
            .unwrap()
            .ends_with("control plane is ready")
    }));
    assert!(
        lines
            .iter()
            .all(|line| line["level"] == "info" && line["time"].is_string()),
        "{text}"
    );
    let failed = instance.rdd(&["--log-format=json", "svc", "paths", "none"]);
    let line: serde_json::Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!(line["level"], "fatal");
}

#[cfg(unix)] // Needs a shell.
#[test]
fn following_ends_when_the_reader_leaves_although_nothing_is_added() {
    let instance = instance();
    said(&instance, &["--log-level=info", "svc", "start"]);
    let script = r#""$0" svc logs -f | head -1"#;
    let output = instance
        .run("sh", SOON)
        .args(["-c", script, env!("CARGO_BIN_EXE_rdd")])
        .run()
        .unwrap();
    assert_eq!(output.text().lines().count(), 1);
}

#[cfg(unix)] // Needs a shell.
#[test]
fn following_shows_later_lines_and_the_log_of_the_next_start() {
    let instance = instance();
    let error = instance.rdd_fails(&["svc", "logs"], 1);
    assert!(error.contains("never started"), "{error}");
    said(&instance, &["--log-level=info", "svc", "start"]);
    let seen = instance.scratch().join("seen");
    let script = r#""$0" svc logs -f > "$1" & echo $! > "$1.pid"; wait"#;
    std::thread::scope(|scope| {
        let follow = scope.spawn(|| {
            instance
                .run("sh", SOON)
                .args(["-c", script, env!("CARGO_BIN_EXE_rdd")])
                .arg(&seen)
                .run_any()
        });
        let count = |word: &str| {
            fs::read_to_string(&seen)
                .unwrap_or_default()
                .matches(word)
                .count()
        };
        poll(SOON, "the first start", || {
            if count("as ready") == 1 {
                Ok(())
            } else {
                Err("not seen")
            }
        });
        said(&instance, &["svc", "stop"]);
        poll(SOON, "the stop", || {
            if count("has stopped") == 1 {
                Ok(())
            } else {
                Err("not seen")
            }
        });
        said(&instance, &["--log-level=info", "svc", "start"]);
        poll(SOON, "the second start", || {
            if count("as ready") == 2 {
                Ok(())
            } else {
                Err("not seen")
            }
        });
        let reader = instance
            .leftovers()
            .into_iter()
            .find(|one| one.command.ends_with("svc logs -f"))
            .unwrap();
        reader.process.signal(process::Signal::Terminate).unwrap();
        follow.join().unwrap().unwrap();
    });
}
