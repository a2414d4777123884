//! The checkout that reviewers of a large repository share: each reviewer sees its own work tree.

use std::path::Path;
use std::process::{Command, Stdio};

use review::model::Outcome;
use testutils::poll;

use crate::repository::{LONG, REVIEW, Repository, entry};

/// Just above the number of files from which a checkout is shared.
const FILES: usize = 2_100;

fn large() -> Repository {
    let repository = Repository::new();
    for at in 0..FILES {
        repository.write(&format!("many/d{}/f{at}", at / 100), &format!("{at}\n"));
    }
    repository.write("many/ex ecutable", "#!/bin/sh\n");
    repository.git(&["config", "core.fileMode", "true"]);
    std::os::unix::fs::symlink("d0/f0", repository.top().join("many/link")).unwrap();
    repository.commit("Many files");
    repository
}

/// The first check of both reviewers. A reviewer whose script fails here gives no review.
fn pristine(repository: &Repository) -> String {
    format!(
        "set -e\ncat >/dev/null\n[ \"$(find many -type f | wc -l)\" = {} ]\n[ \"$(cat many/link)\" = 0 ]\n[ -z \"$(git status --porcelain)\" ]\n[ \"$(git rev-parse HEAD)\" = \"$DEEP_REVIEW_HEAD\" ]\nif grep -q \" $PWD overlay\\| $PWD .* overlay\" /proc/self/mountinfo; then echo shared >> '{}'; fi\n",
        FILES + 1,
        repository.outside("kinds").display(),
    )
}

/// Returns how many reviewers shared the checkout; if the machine forbids it, prints so, and the rest of the test still
/// holds.
fn shared(repository: &Repository) -> usize {
    let kinds = std::fs::read_to_string(repository.outside("kinds")).unwrap_or_default();
    if kinds.is_empty() {
        eprintln!("not tried: this system allows no overlay");
    }
    kinds.lines().count()
}

fn finished(run: &review::model::ReviewerRun) -> bool {
    matches!(run.outcome, Outcome::Finished { .. })
}

#[test]
fn writes_of_one_reviewer_are_invisible_to_others() {
    let repository = large();
    let good = repository.printer("good", REVIEW);
    let (wrote, seen) = (repository.outside("wrote"), repository.outside("seen"));
    // The loop is bounded, so that the test fails if the other reviewer never starts.
    let wait = |file: &Path| {
        format!(
            "n=0; while [ ! -e '{0}' ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; [ -e '{0}' ]\n",
            file.display()
        )
    };
    let writer = repository.script(
        "writer",
        &format!(
            "{}echo changed > many/d0/f0; rm many/d0/f1; rm -r many/d1; mv many/d2 many/moved; ln -sf /etc/passwd many/d0/f3; touch many/new\n[ \"$(git status --porcelain | wc -l)\" -gt 200 ]\ngit -c user.name=x -c user.email=x@localhost commit -q -a -m mine\ntouch '{}'\n{}exec '{good}' </dev/null",
            pristine(&repository),
            wrote.display(),
            wait(&seen),
        ),
    );
    // The checkout under the overlay is hidden, and its folder cannot be written to.
    let reader = repository.script(
        "reader",
        &format!(
            "{}{}[ \"$(cat many/d0/f0)\" = 0 ]; [ -e many/d0/f1 ]; [ -d many/d1 ]; [ ! -e many/moved ]; [ ! -e many/new ]; [ -f many/d0/f3 ]\n[ -z \"$(git status --porcelain)\" ]\n[ -z \"$(ls -A ../../layers/.pristine)\" ]\ntouch '{}'\nexec '{good}' </dev/null",
            pristine(&repository),
            wait(&wrote),
            seen.display(),
        ),
    );
    repository.configure(
        &[
            entry("writer", "command", &[&writer], ""),
            entry("reader", "command", &[&reader], ""),
        ]
        .concat(),
    );
    let report = repository.report(&[]);
    for run in &report.reviewers {
        assert!(finished(run), "{}: {:?}", run.name, run.outcome);
    }
    assert!(matches!(shared(&repository), 0 | 2));
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
}

#[test]
fn reviewer_with_own_work_tree_shares_nothing() {
    let repository = large();
    let good = repository.printer("good", REVIEW);
    let script = repository.script(
        "alone",
        &format!("{}exec '{good}' </dev/null", pristine(&repository)),
    );
    repository.configure(&entry(
        "alone",
        "command",
        &[&script],
        "worktree = \"own\"\n",
    ));
    let report = repository.report(&[]);
    assert!(finished(&report.reviewers[0]));
    assert!(!repository.outside("kinds").exists());
}

#[test]
fn absent_program_is_missing_with_a_shared_checkout() {
    let repository = large();
    repository.configure(&entry("absent", "command", &["no-such-program"], ""));
    let report = repository.report(&[]);
    let outcome = format!("{:?}", report.reviewers[0].outcome);
    assert!(outcome.starts_with("Missing"), "{outcome}");
}

#[test]
fn each_reviewer_gets_a_checkout_if_mounts_are_forbidden() {
    // Runs in a user namespace that allows no further ones, like a user without permission to mount.
    let forbidden = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin -- \"$@\"";
    let namespace = ["--user", "--map-root-user", "sh", "-c", forbidden, "sh"];
    let allowed = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", "! unshare --mount true 2>/dev/null"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        let reason = "mounts cannot be forbidden to one program";
        return testutils::skip(testutils::Need::Namespaces, reason);
    }
    let repository = large();
    let good = repository.printer("good", REVIEW);
    let script = repository.script(
        "good-one",
        &format!("{}exec '{good}' </dev/null", pristine(&repository)),
    );
    repository.configure(&entry("one", "command", &[&script], ""));
    let run = repository.command(&["run", "--format", "json"]);
    let output = Command::new("unshare")
        .args(namespace)
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(repository.top())
        .env("XDG_CONFIG_HOME", repository.outside("no-configuration"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: review::model::Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        finished(&report.reviewers[0]),
        "{:?}",
        report.reviewers[0].outcome
    );
    assert!(!repository.outside("kinds").exists());
    repository.assert_clean();
}

#[test]
fn killed_run_leaves_nothing_mounted() {
    let repository = large();
    let started = repository.outside("started");
    let script = repository.script(
        "hanging",
        &format!(
            "{}touch '{}'\nexec sleep 1000",
            pristine(&repository),
            started.display()
        ),
    );
    repository.configure(&entry("hanging", "command", &[&script], ""));
    let mut run = repository
        .command(&["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    poll(LONG, "the reviewer to be at work", || {
        match (started.exists(), run.try_wait().unwrap()) {
            (true, None) => Ok(()),
            state => Err(format!("{state:?}")),
        }
    });
    run.kill().unwrap();
    run.wait().unwrap();
    poll(LONG, "the guard to clean up", || {
        match repository.left_over() {
            found if found.is_empty() => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
    shared(&repository);
}
