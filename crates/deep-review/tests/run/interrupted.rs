//! Ctrl-C and `kill -9` leave nothing behind, and the next run resumes the round.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testutils::poll;

use crate::repository::{LONG, REVIEW, Repository, entry};

/// One reviewer that answers at once and counts its questions, and one that hangs until a file exists.
fn slow(repository: &Repository) {
    let good = repository.printer("good", REVIEW);
    let (asked, started, go) = (
        repository.outside("asked"),
        repository.outside("started"),
        repository.outside("go"),
    );
    let quick = repository.script(
        "quick",
        &format!("echo x >> '{}'; exec '{good}'", asked.display()),
    );
    let hanging = repository.script(
        "hanging",
        &format!(
            "[ -e '{go}' ] && exec '{good}'\n(setsid sleep 1000 &)\necho x >> '{started}'; exec sleep 1000",
            go = go.display(),
            started = started.display()
        ),
    );
    repository.configure(
        &[
            entry("quick", "command", &[&quick], ""),
            entry("hanging", "command", &[&hanging], ""),
        ]
        .concat(),
    );
}

fn begin(repository: &Repository) -> Child {
    let mut run = repository
        .command(&["run", "--format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    poll(LONG, "both reviewers to be at work", || {
        let quick = repository
            .rounds()
            .iter()
            .any(|round| round.join("reviewers/quick.json").exists());
        match (
            quick,
            repository.outside("started").exists(),
            run.try_wait().unwrap(),
        ) {
            (true, true, None) => Ok(()),
            state => Err(format!("{state:?}")),
        }
    });
    run
}

fn signal(run: &Child, name: &str) {
    assert!(
        Command::new("kill")
            .arg(name)
            .arg(run.id().to_string())
            .status()
            .unwrap()
            .success()
    );
}

fn goes_on(repository: &Repository, head: &str) {
    // Commits to the branch meanwhile do not move the pin.
    repository.write("late.txt", "late\n");
    repository.commit("Late");
    std::fs::write(repository.outside("go"), "").unwrap();
    let report = repository.report(&[]);
    assert_eq!(report.target.head, head);
    assert_eq!((report.round, report.reviewers.len()), (1, 2));
    assert_eq!(report.findings[0].voices.len(), 2);
    let asked = std::fs::read_to_string(repository.outside("asked")).unwrap();
    assert_eq!(
        asked.lines().count(),
        1,
        "a reviewer that has answered is not retried"
    );
}

#[test]
fn killed_run_leaves_nothing_and_is_resumed() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    slow(&repository);
    let mut run = begin(&repository);
    signal(&run, "-KILL");
    run.wait().unwrap();
    poll(LONG, "the guard to clean up", || {
        match repository.left_over() {
            found if found.is_empty() => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
    goes_on(&repository, &head);
}

#[test]
fn next_run_cleans_up_if_run_and_guard_are_killed() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    slow(&repository);
    let mut run = begin(&repository);
    let guard = repository
        .processes()
        .into_iter()
        .find(|line| line.contains(" guard "))
        .unwrap();
    let guard = guard.split([' ', ':']).nth(1).unwrap().to_owned();
    assert!(
        Command::new("kill")
            .args(["-KILL", &guard])
            .status()
            .unwrap()
            .success()
    );
    signal(&run, "-KILL");
    run.wait().unwrap();
    assert!(!repository.left_over().is_empty());
    goes_on(&repository, &head);
}

#[test]
fn ctrl_c_kills_all_reviewers_and_the_run_is_resumed() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    slow(&repository);
    let mut run = begin(&repository);
    signal(&run, "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    repository.assert_clean();
    goes_on(&repository, &head);
}

/// The reviewers have answered; the reviewer with the additional `role` of the configuration hangs until a file exists.
fn hanging_judge(repository: &Repository, role: &str, answer: &str) {
    let review = |title: &str, text: &str| {
        format!(
            "## Findings\n\n### Important Issues\n\nI1. **{title}** — `src/count.py:4`\n\n{text}\n"
        )
    };
    let texts = [
        (
            "The count became a sum",
            "Callers want the number of items.",
        ),
        (
            "Adding items breaks the count",
            "The number of items is wanted.",
        ),
    ];
    let asked = repository.outside("asked");
    let mut configuration = format!("{role} = \"Judge\"\n");
    for (name, (title, text)) in ["A", "B"].into_iter().zip(texts) {
        let printer = repository.printer(&format!("{name}-answer"), &review(title, text));
        let body = format!("echo {name} >> '{}'; exec '{printer}'", asked.display());
        configuration.push_str(&entry(
            name,
            "command",
            &[&repository.script(name, &body)],
            "",
        ));
    }
    let printer = repository.printer("judge-answer", answer);
    let (started, go) = (repository.outside("started"), repository.outside("go"));
    let body = format!(
        "[ -e '{go}' ] && exec '{printer}'\n(setsid sleep 1000 &)\necho x >> '{started}'; exec sleep 1000",
        go = go.display(),
        started = started.display()
    );
    let judge = repository.script("judge", &body);
    configuration.push_str(&entry("Judge", "command", &[&judge], ""));
    repository.configure(&configuration);
}

#[test]
fn run_killed_during_lead_or_judge_repeats_only_that_question() {
    const REVIEWERS: [&str; 4] = ["--reviewer", "A", "--reviewer", "B"];
    let prose = "## Executive Summary\n\nI1 decides: in `src/count.py:4` the loop sums.\n";
    for (role, answer) in [("lead", prose), ("close-calls", "P1: same\n")] {
        for death in ["-KILL", "-INT"] {
            let repository = Repository::new();
            let head = repository.git(&["rev-parse", "HEAD"]);
            hanging_judge(&repository, role, answer);
            let mut run = repository
                .command(&[&["run", "--quiet"][..], &REVIEWERS].concat())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            poll(LONG, "the question to be asked", || {
                match (
                    repository.outside("started").exists(),
                    run.try_wait().unwrap(),
                ) {
                    (true, None) => Ok(()),
                    state => Err(format!("{role}: {state:?}")),
                }
            });
            signal(&run, death);
            let status = run.wait().unwrap();
            if death == "-INT" {
                assert_eq!(status.code(), Some(130), "{role}");
                repository.assert_clean();
            }
            poll(LONG, "the guard to clean up", || {
                match repository.left_over() {
                    found if found.is_empty() => Ok(()),
                    found => Err(format!("{role} {death}: {found:?}")),
                }
            });
            // The round has no report, so an incomplete one cannot be mistaken for a whole one.
            assert!(!repository.rounds()[0].join("report.json").exists());
            repository.write("late.txt", "late\n");
            repository.commit("Late");
            std::fs::write(repository.outside("go"), "").unwrap();
            let report = repository.report(&REVIEWERS);
            assert_eq!(
                (report.target.head.as_str(), report.round),
                (head.as_str(), 1)
            );
            let asked = std::fs::read_to_string(repository.outside("asked")).unwrap();
            assert_eq!(asked.lines().count(), 2, "{role} {death}: {asked}");
            assert_eq!(report.asked.len(), 1, "{role} {death}");
            assert_eq!(report.asked[0].trouble, None, "{role} {death}");
            if role == "lead" {
                assert_eq!(
                    report.prose.author.as_deref(),
                    Some("Judge"),
                    "{:?}",
                    report.prose
                );
            } else {
                assert_eq!(report.close_calls.unwrap().calls[0].same, Some(true));
                assert_eq!(report.findings.len(), 1);
            }
        }
    }
}

#[test]
fn second_run_of_a_target_is_refused() {
    let repository = Repository::new();
    slow(&repository);
    let mut run = begin(&repository);
    let output = repository.run(&[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is being reviewed by"));
    signal(&run, "-TERM");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    repository.assert_clean();
}

#[test]
fn deleted_state_folder_does_not_prevent_a_review() {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    repository.configure(&entry("good", "command", &[&good], ""));
    repository.report(&[]);
    // A killed run whose folder is deleted before the clean-up leaves a work tree registered with git.
    let work = repository.rounds()[0].join("work/good");
    repository.git(&["worktree", "add", "-q", "--detach", work.to_str().unwrap()]);
    std::fs::remove_dir_all(repository.state()).unwrap();
    let report = repository.report(&[]);
    assert_eq!(report.findings.len(), 1, "{:?}", report.reviewers);
}

#[test]
fn run_killed_between_any_two_steps_is_resumed() {
    for point in [
        "review.planned",
        "review.recorded",
        "review.work-moved",
        "review.finished",
    ] {
        let repository = Repository::new();
        let good = repository.printer("good", REVIEW);
        repository.configure(&entry("good", "command", &[&good], ""));
        let output = repository
            .command(&["run"])
            .env("RDD_CRASH_POINT", point)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            None,
            "{point}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        poll(LONG, "the guard to clean up", || {
            match repository.left_over() {
                found if found.is_empty() => Ok(()),
                found => Err(format!("{found:?}")),
            }
        });
        let report = repository.report(&[]);
        assert_eq!(report.findings.len(), 1, "{point}");
    }
}

/// git reads the data of all work trees whenever it registers or unregisters one, and fails if one is half written.
#[test]
fn concurrent_runs_in_one_repository_succeed() {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    let names = ["a", "b", "c", "d"];
    let reviewers = names.map(|name| entry(name, "command", &[&good], ""));
    repository.configure(&reviewers.concat());
    let runs: Vec<Child> = (0..6)
        .map(|number| {
            let state = repository.outside(&format!("state-{number}"));
            repository
                .command_in(&state, &["run", "--format", "json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let report: review::model::Report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let voices = report.findings[0]
            .voices
            .iter()
            .map(|voice| voice.reviewer.as_str());
        assert!(voices.eq(names), "{report:?}");
    }
    repository.assert_clean();
}

#[test]
fn run_waits_for_the_work_tree_lock() {
    let repository = Repository::new();
    let file = repository.top().join(".git/deep-review.lock");
    let other = process::FileLock::try_acquire(&file, "another run").unwrap();
    let (done, registered) = std::sync::mpsc::channel();
    let (top, tree) = (repository.top(), repository.outside("tree"));
    let work = std::thread::spawn(move || {
        let git = deep_review::git::Git::open(&top).unwrap();
        deep_review::worktree::register(&git, &tree, "HEAD").unwrap();
        done.send(()).unwrap();
        deep_review::worktree::remove(&git, &tree, &top.join(".git/trash")).unwrap();
    });
    // Long enough to see that a run does not wait; a slow machine cannot make this fail.
    let early = registered.recv_timeout(Duration::from_millis(500));
    assert!(early.is_err() && !repository.outside("tree").exists());
    drop(other);
    registered.recv_timeout(LONG).unwrap();
    work.join().unwrap();
    repository.assert_clean();
}
