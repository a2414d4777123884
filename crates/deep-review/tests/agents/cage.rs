//! A network namespace with loopback only, and the set-up that every test in one shares.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use review::model::{Outcome, Report, ReviewerRun};

use crate::model::Model;
use crate::repository::{Repository, entry};

/// Set when the test runs again inside the namespace.
const INSIDE: &str = "DEEP_REVIEW_TEST_CAGED";

/// Ways to create a namespace: root needs no more, other users need a user namespace.
const WAYS: &[&[&str]] = &[&["--net"], &["--user", "--map-root-user", "--net"]];

/// Brings up loopback, then executes the remaining arguments.
const ENTER: &str = "ip link set lo up && exec \"$@\"";

/// Runs `body` in a namespace, with the path of the agent: the test executes itself there once more, by its name. If
/// the agent or namespaces are missing, the test is skipped.
pub(crate) fn caged(test: &str, agent: &str, body: impl FnOnce(&Path)) {
    let path = agents().join(agent);
    if !path.exists() {
        let reason = format!("{agent} is not installed (scripts/install-agents)");
        return testutils::skip(testutils::Need::Agents, reason);
    }
    if std::env::var_os(INSIDE).is_some() {
        assert_alone();
        return body(&path);
    }
    let Some(way) = WAYS
        .iter()
        .find(|way| enter(way, Path::new("true"), &[]).status.success())
    else {
        let reason = "no network namespace is allowed, or unshare or ip is missing";
        return testutils::skip(testutils::Need::Namespaces, reason);
    };
    let me = std::env::current_exe().unwrap();
    let output = enter(
        way,
        &me,
        &["--exact", test, "--nocapture", "--test-threads=1"],
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // A run of zero tests would succeed, too.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in the namespace: {}\n{said}\n{errors}",
        output.status
    );
}

fn enter(way: &[&str], program: &Path, args: &[&str]) -> Output {
    Command::new("unshare")
        .args(way)
        .args(["--", "sh", "-c", ENTER, "sh"])
        .arg(program)
        .args(args)
        .env(INSIDE, "1")
        .output()
        .unwrap_or_else(|error| Output {
            status: std::os::unix::process::ExitStatusExt::from_raw(1 << 8),
            stdout: Vec::new(),
            stderr: error.to_string().into_bytes(),
        })
}

/// Returns the folder of the agents.
fn agents() -> PathBuf {
    testutils::tools_dir().join("agents/node_modules/.bin")
}

/// Checks that loopback is the only device, so that no packet can leave.
fn assert_alone() {
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let devices: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    assert_eq!(devices, ["lo"]);
}

/// An agent's run over a repository, with a model.
pub(crate) struct Run<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) kind: &'a str,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// More lines of the reviewer's entry.
    pub(crate) more: &'a str,
    pub(crate) environment: Vec<(&'a str, String)>,
}

impl Run<'_> {
    /// Returns the reviewer's part of the report. `top`: lines above its entry.
    fn ask(&self, top: &str) -> (Report, ReviewerRun) {
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let repository = self.repository;
        let entry = entry("agent", self.kind, &command, self.more);
        repository.configure(&format!("{top}{entry}"));
        let home = repository.outside("home");
        std::fs::create_dir_all(&home).unwrap();
        let output = repository
            .command(&["run", "--format", "json"])
            .env("HOME", home)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        repository.assert_clean();
        let report: Report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {errors}"));
        let run = report.reviewers[0].clone();
        (report, run)
    }

    /// Runs a review that must succeed.
    pub(crate) fn review(&self) -> ReviewerRun {
        self.finish("").1
    }

    /// Runs a review that must succeed, and asks the agent for the report's prose, too: in a folder that is no
    /// repository.
    pub(crate) fn review_and_lead(&self) -> ReviewerRun {
        let (report, run) = self.finish("lead = \"agent\"\n");
        assert_eq!(report.asked.len(), 1);
        assert_eq!(report.asked[0].trouble, None);
        run
    }

    fn finish(&self, top: &str) -> (Report, ReviewerRun) {
        let (report, run) = self.ask(top);
        assert_eq!(run.outcome, Outcome::Finished { warning: None });
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        assert_eq!(report.findings[0].lead.title, "The count became a sum");
        (report, run)
    }

    /// Returns why the reviewer failed.
    pub(crate) fn failure(&self) -> String {
        match self.ask("").1.outcome {
            Outcome::Failed { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

/// The time limit for an answer that never ends: on a busy machine an agent may take most of it to start.
pub(crate) const LIMITS: [&str; 3] = [
    "timeout = \"20s\"\n",
    "timeout = \"1m\"\n",
    "timeout = \"5m\"\n",
];

/// Returns the command of a kind with the real program in place of its name.
pub(crate) fn command(
    kind: deep_review::adapters::Kind,
    program: &Path,
    args: &[&str],
) -> Vec<String> {
    let words = kind.adapter().command();
    let mut command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    command[0] = program.to_str().unwrap().to_owned();
    let last = command.pop_if(|word| word == "-");
    command.extend(args.iter().map(|arg| (*arg).to_owned()));
    command.extend(last);
    command
}

/// A text in the file that the diff does not show: an agent that knows it has read the file.
pub(crate) const UNSHOWN: &str = "return items[0]";

/// Checks that the model received the output of the tool.
pub(crate) fn assert_read(model: &Model) {
    let asked = model.asked();
    assert!(!asked[0].body.contains(UNSHOWN), "the prompt shows it");
    assert!(asked[1].body.contains(UNSHOWN), "{}", asked[1].body);
}

/// Checks that none of the hostile change's commands ran: each would create a file outside of the repository.
pub(crate) fn assert_ran_nothing(repository: &Repository) {
    let ran: Vec<String> = std::fs::read_dir(repository.outside(""))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("ran-"))
        .collect();
    assert!(ran.is_empty(), "{ran:?}");
}

/// Returns a command that leaves a trace for [`assert_ran_nothing`].
pub(crate) fn trace(repository: &Repository, name: &str) -> String {
    format!(
        "touch {}",
        repository.outside(&format!("ran-{name}")).display()
    )
}

/// Checks that every occurrence of `mark` in the model's prompts is in the diff, at the start of an added line.
pub(crate) fn assert_only_in_the_diff(model: &Model, mark: &str) {
    for asked in model.asked() {
        let all = asked.body.matches(mark).count();
        let added = asked.body.matches(&format!("+{mark}")).count();
        assert!(
            all > 0 && all == added,
            "{mark}: {all}, in the diff {added}"
        );
    }
}
