//! Each adapter against a script that speaks its documented output: well-behaved, failing, slow, flooding.

use review::model::{Outcome, Report, ReviewerRun};
use serde_json::json;

use crate::repository::{REVIEW, Repository, entry};

fn reviewer<'a>(report: &'a Report, name: &str) -> &'a ReviewerRun {
    report
        .reviewers
        .iter()
        .find(|run| run.name == name)
        .unwrap()
}

fn failure(run: &ReviewerRun) -> &str {
    match &run.outcome {
        Outcome::Failed { reason } => reason,
        other => panic!("{}: {other:?}", run.name),
    }
}

fn lines(events: &[serde_json::Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn claude() -> String {
    lines(&[
        json!({"type": "system", "subtype": "init", "model": "claude-x"}),
        json!({"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Read", "input": {"file_path": "src/count.py"}}]}}),
        json!({"type": "result", "subtype": "success", "is_error": false, "result": REVIEW, "total_cost_usd": 0.5, "usage": {"input_tokens": 10, "output_tokens": 20}}),
    ])
}

fn codex() -> String {
    lines(&[
        json!({"type": "thread.started", "thread_id": "t"}),
        json!({"type": "item.completed", "item": {"id": "1", "type": "command_execution", "command": "ls", "status": "completed"}}),
        json!({"type": "item.completed", "item": {"id": "2", "type": "agent_message", "text": REVIEW}}),
        json!({"type": "turn.completed", "usage": {"input_tokens": 7, "cached_input_tokens": 1, "output_tokens": 3}}),
    ])
}

fn gemini() -> String {
    serde_json::to_string_pretty(&json!({"response": REVIEW, "stats": {"models": {"m": {"tokens": {"prompt": 5, "candidates": 6}}}, "tools": {"byName": {"read_file": {"count": 2}}}}})).unwrap()
}

/// An agent of the Agent Client Protocol that answers each request in turn.
fn acp(repository: &Repository) -> String {
    let chunk = json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": REVIEW}}}});
    let file = repository.outside("chunk.json");
    std::fs::write(&file, format!("{chunk}\n")).unwrap();
    repository.script(
        "acp-agent",
        &format!(
            r#"
read -r request; case "$request" in *'"initialize"'*) ;; *) exit 9;; esac
echo '{{"jsonrpc":"2.0","id":0,"result":{{"protocolVersion":1,"agentCapabilities":{{}}}}}}'
read -r request; case "$request" in *'"session/new"'*) ;; *) exit 9;; esac
echo '{{"jsonrpc":"2.0","id":1,"result":{{"sessionId":"s"}}}}'
read -r request; case "$request" in *'"session/prompt"'*) ;; *) exit 9;; esac
cat '{}'
echo '{{"jsonrpc":"2.0","id":2,"result":{{"stopReason":"end_turn"}}}}'
while read -r request; do :; done"#,
            file.display()
        ),
    )
}

#[test]
fn four_agents_find_one_defect() {
    let repository = Repository::new();
    let script = |name: &str, text: String| repository.printer(name, &text);
    repository.configure(
        &[
            entry("Claude", "claude", &[&script("claude", claude())], ""),
            entry("Codex", "codex", &[&script("codex", codex())], ""),
            entry("Gemini", "gemini", &[&script("gemini", gemini())], ""),
            entry("Other", "acp", &[&acp(&repository)], ""),
        ]
        .concat(),
    );
    let report = repository.report(&[]);
    for run in &report.reviewers {
        assert_eq!(
            run.outcome,
            Outcome::Finished { warning: None },
            "{}",
            run.name
        );
    }
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    assert_eq!(report.findings[0].voices.len(), 4);
    assert_eq!(report.findings[0].id, "I1");
    assert_eq!(report.verdict.decision, "merge with fixes");
    let claude = &reviewer(&report, "Claude").performance;
    assert_eq!(claude.cost_usd, Some(0.5));
    assert_eq!(claude.tool_calls, [("Read".to_owned(), 1)]);
    assert_eq!(reviewer(&report, "Codex").performance.input_tokens, Some(7));
    assert_eq!(
        reviewer(&report, "Gemini").performance.output_tokens,
        Some(6)
    );
}

#[test]
fn failing_reviewers_do_not_affect_the_others() {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    let bad_exit = repository.script("bad-exit", &format!("'{good}'; exit 3"));
    let crashing = repository.script(
        "crashing",
        "echo 'cannot reach the model' >&2; kill -SEGV $$",
    );
    let silent = repository.script("silent", "exit 0");
    let chatty = repository.script("chatty", "echo 'I cannot help with that.'");
    let flooding = repository.script("flooding", "exec yes");
    let hanging = repository.script(
        "hanging",
        "(trap '' TERM; exec sleep 1000) & exec sleep 1000",
    );
    repository.configure(
        &[
            entry("good", "command", &[&good], ""),
            entry("bad exit", "command", &[&bad_exit], ""),
            entry("crashing", "command", &[&crashing], ""),
            entry("silent", "command", &[&silent], ""),
            entry("chatty", "command", &[&chatty], ""),
            entry(
                "flooding",
                "command",
                &[&flooding],
                "output-limit = 100000\n",
            ),
            entry("hanging", "command", &[&hanging], "timeout = \"300ms\"\n"),
            entry("absent", "command", &["/no/such/reviewer"], ""),
        ]
        .concat(),
    );
    let report = repository.report(&[]);
    let outcome = |name: &str| &reviewer(&report, name).outcome;
    assert_eq!(*outcome("good"), Outcome::Finished { warning: None });
    match outcome("bad exit") {
        Outcome::Partial { reason } => assert!(reason.contains('3'), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(outcome("absent"), Outcome::Missing { .. }));
    let failed = |name: &str| failure(reviewer(&report, name));
    assert!(failed("crashing").contains("cannot reach the model"));
    assert!(failed("silent").contains("nothing"));
    assert!(
        failed("chatty").contains("no finding"),
        "{}",
        failed("chatty")
    );
    assert!(failed("flooding").contains("100000 bytes"));
    assert!(failed("hanging").contains("killed"));
    assert_eq!(report.findings[0].voices.len(), 2);
}

#[test]
fn analyser_that_could_not_run_has_failed() {
    let repository = Repository::new();
    let broken = repository.script(
        "broken",
        "echo '{\"reason\":\"build-finished\",\"success\":false}'; echo 'no matching package' >&2; exit 101",
    );
    let clean = repository.script(
        "clean",
        "echo '{\"reason\":\"build-finished\",\"success\":true}'",
    );
    repository.configure(
        &[
            entry("broken", "analyser", &[&broken], "format = \"cargo\"\n"),
            entry("clean", "analyser", &[&clean], "format = \"cargo\"\n"),
        ]
        .concat(),
    );
    let report = repository.report(&[]);
    assert!(failure(reviewer(&report, "broken")).contains("no matching package"));
    assert_eq!(
        reviewer(&report, "clean").outcome,
        Outcome::Finished { warning: None }
    );
}

#[test]
fn all_reviewers_failing_exits_3() {
    let repository = Repository::new();
    let silent = repository.script("silent", "exit 1");
    repository.configure(&entry("silent", "command", &[&silent], ""));
    let output = repository.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("silent"));
}

#[test]
fn rate_limited_reviewer_is_retried() {
    let repository = Repository::new();
    let count = repository.outside("count");
    let good = repository.printer("good", REVIEW);
    let limited = repository.script(
        "limited",
        &format!(
            "echo x >> '{count}'; if [ $(wc -l < '{count}') -lt 3 ]; then echo '429 Too Many Requests' >&2; exit 1; fi; exec '{good}'",
            count = count.display()
        ),
    );
    let always = repository.script("always", "echo 'rate limit reached' >&2; exit 1");
    repository.configure(
        &[
            entry("limited", "command", &[&limited], "backoff = \"1ms\"\n"),
            entry(
                "always",
                "command",
                &[&always],
                "backoff = \"1ms\"\nretries = 2\n",
            ),
        ]
        .concat(),
    );
    let report = repository.report(&[]);
    assert_eq!(
        reviewer(&report, "limited").outcome,
        Outcome::Finished { warning: None }
    );
    assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), 3);
    assert!(failure(reviewer(&report, "always")).contains("asked 3 times"));
}

#[test]
fn reviewers_get_the_same_prompt_and_separate_work_trees() {
    let repository = Repository::new();
    repository.git(&["checkout", "-q", "main"]);
    repository.write("AGENTS.md", "Mind the gap.\n");
    repository.commit("Tell agents");
    repository.git(&["checkout", "-q", "feature"]);
    repository.git(&["rebase", "-q", "main"]);
    let good = repository.printer("good", REVIEW);
    let body = |name: &str| {
        let out = repository.outside(name);
        repository.script(
            &format!("{name}.sh"),
            &format!("mkdir '{0}'; cat > '{0}/prompt'; pwd > '{0}/pwd'; cat src/count.py > '{0}/code'; echo broken > src/count.py; env > '{0}/env'; '{good}' </dev/null", out.display()),
        )
    };
    repository.configure(
        &[
            entry("a", "command", &[&body("a")], "env = [\"ALLOWED\"]\n"),
            entry("b", "command", &[&body("b")], ""),
        ]
        .concat(),
    );
    let output = repository
        .command(&["run", "--format", "json"])
        .env("ALLOWED", "given")
        .env("NOT_ALLOWED", "kept")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| std::fs::read_to_string(repository.outside(name)).unwrap();
    assert_eq!(read("a/prompt"), read("b/prompt"));
    assert_ne!(read("a/pwd"), read("b/pwd"));
    // One reviewer's damage is visible neither to the other nor in the checkout.
    assert!(read("a/code").contains("total += item"));
    assert!(read("b/code").contains("total += item"));
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    let prompt = read("a/prompt");
    for part in [
        "Mind the gap.",
        "Sum instead of count",
        "+        total += item",
        "src/count.py",
    ] {
        assert!(prompt.contains(part), "{part}");
    }
    assert!(read("a/env").contains("ALLOWED=given"));
    assert!(!read("b/env").contains("ALLOWED="));
    repository.assert_clean();
}
