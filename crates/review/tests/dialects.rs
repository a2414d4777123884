//! Reviews in dialects other than those that the parser was measured with: other headings, other words
//! for severities, lists, tables, comments by file, Windows paths, prose. Each is read completely.
#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]

use std::path::Path;

use review::model::{Review, Severity};
use review::parse;

fn read(name: &str) -> Review {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/dialects")
        .join(name);
    parse::detect_and_parse(name, &std::fs::read(file).unwrap()).unwrap()
}

/// `severity path:lines title` of each finding.
fn said(review: &Review) -> Vec<String> {
    let severity = |severity| match severity {
        Severity::Critical => "critical",
        Severity::Important => "important",
        Severity::Suggestion => "suggestion",
    };
    review
        .findings
        .iter()
        .map(|finding| {
            let places: Vec<String> = finding
                .locations
                .iter()
                .map(|place| match (place.start, place.end) {
                    (Some(start), Some(end)) => format!("{}:{start}-{end}", place.path),
                    (Some(start), None) => format!("{}:{start}", place.path),
                    _ => place.path.clone(),
                })
                .collect();
            format!(
                "{} {} {}",
                severity(finding.severity),
                places.join(","),
                finding.title
            )
        })
        .collect()
}

fn assert_said(name: &str, expected: &[&str]) -> Review {
    let review = read(name);
    assert_eq!(said(&review), expected, "{name}");
    assert_eq!(review.unparsed, Vec::<String>::new(), "{name}");
    review
}

#[test]
fn lists_under_blockers_majors_minors_and_nits() {
    let review = assert_said(
        "blockers.md",
        &[
            "critical services/billing/refund.py:118 Refunds are issued twice when the webhook is retried",
            "important services/billing/client.py:41-57 Unbounded retry loop",
            "important services/billing/money.py:9 Currency is lost in rounding",
            "suggestion services/billing/log.py:77 Log line leaks the customer's e-mail",
            "suggestion services/billing/money.py:3 Typo in the docstring",
        ],
    );
    assert!(review.findings[1].explanation.contains("503 for ever"));
    assert!(
        review.findings[0]
            .quote
            .as_ref()
            .unwrap()
            .contains("store_event_id")
    );
}

#[test]
fn priorities_in_brackets_and_paths_of_windows() {
    assert_said(
        "windows.md",
        &[
            "critical Installer/Actions/Upgrade.cs:212 Uninstall of the old version runs before the new files are verified",
            "important src/Service/PipeServer.cs:64-71 Pipe has no ACL, every local user can send commands",
            r#"suggestion C:/agent/work/1/s/src/Service/Paths.cs:18 Hard-coded "C:\Program Files""#,
            "suggestion build/pack.ps1:5 Unused parameter $Verbose",
        ],
    );
}

#[test]
fn table() {
    let review = assert_said(
        "table.md",
        &[
            "important web/src/auth/session.ts:88 Session cookie lacks the Secure attribute",
            "important web/src/api/client.ts:140-152 Request is not aborted when the component unmounts",
            "suggestion web/src/App.tsx:12 Unused import of `useMemo`",
            "critical db/migrations/0042_drop.sql:3 Column is dropped before the backfill runs",
        ],
    );
    assert_eq!(
        review.findings[0].fix.as_deref(),
        Some("Set `secure: true`")
    );
}

#[test]
fn single_paragraph() {
    assert_said(
        "paragraph.md",
        &[
            "critical pkg/cache/lru.go:97 Get moves the element to the front while holding only the read lock, so two readers can corrupt the list (blocker)",
            "important pkg/cache/lru.go:131 In pkg/cache/lru.go:131 the eviction callback is called with the lock held, which deadlocks when the callback calls…",
            "suggestion cmd/server/main.go:44 Finally, cmd/server/main.go:44 ignores the error of os.MkdirAll, a minor issue",
        ],
    );
}

#[test]
fn headings_with_labels_below_in_another_language() {
    let review = assert_said(
        "labels.md",
        &[
            "critical app/Http/Controllers/ExportController.php:57 SQL injection in the report export",
            "important app/Models/Invoice.php:20-34 N+1 query when listing invoices",
            "suggestion app/Support/Str.php:9 Method name shadows a PHP built-in",
        ],
    );
    let first = &review.findings[0];
    assert!(first.explanation.contains("concatenated"));
    assert_eq!(first.fix.as_deref(), Some("use a whitelist of columns."));
}

#[test]
fn comments_under_the_names_of_their_files() {
    let review = assert_said(
        "comments.md",
        &[
            "critical internal/queue/worker.go:45 The context is cancelled before the job is acknowledged, so every job is delivered twice",
            "important internal/queue/worker.go:60-66 `time.After` in a loop leaks a timer per iteration",
            "suggestion internal/queue/worker.go:102 exported method without a comment",
            "suggestion internal/queue/store.go:12 The constant is never used",
        ],
    );
    assert!(!review.findings[2].explanation.contains("store.go"));
}

#[test]
fn pictures_before_headings() {
    let review = assert_said(
        "emoji.md",
        &[
            "critical lib/src/transport/socket.dart:150 Race between `Close` and `Write`",
            "important lib/src/transport/backoff.dart:33-40 Retry delay is never reset",
            "suggestion lib/src/transport/backoff.dart:8 Name the constant",
        ],
    );
    assert_eq!(review.strengths[0].text, "Clear tests.");
}

#[test]
fn conventional_comments() {
    let review = assert_said(
        "conventional.md",
        &[
            "critical kernel/src/sched/queue.c:411 The run queue lock is released before the task is dequeued",
            "suggestion kernel/src/sched/queue.c:87 Use list_for_each_entry_safe here",
            "suggestion include/sched.h:14 Trailing white space",
        ],
    );
    assert!(review.findings[0].explanation.contains("Another CPU"));
    assert!(!review.findings[2].explanation.contains("excellent"));
}

#[test]
fn letters_with_a_dash_and_the_place_in_the_first_line() {
    assert_said(
        "security.md",
        &[
            "important backend/upload/views.py:31-38 Path traversal through the file name",
            "important backend/upload/views.py:22 Upload size is not limited",
            "important backend/upload/tmp.py:14 Temporary files are never removed",
            "suggestion backend/upload/views.py:55 Error message reveals the absolute path",
        ],
    );
}

#[test]
fn severity_and_place_before_each_line() {
    assert_said(
        "stars.md",
        &[
            "critical src/main/java/com/acme/Pool.java:203 the connection is returned to the pool before the result set is closed",
            "important src/main/java/com/acme/Pool.java:88 synchronized block on a boxed Integer",
            "suggestion src/main/java/com/acme/Config.java:12 magic number",
        ],
    );
}

#[test]
fn numbers_with_the_severity_in_parentheses() {
    assert_said(
        "numbered.md",
        &[
            "important storage/engine.rs:120-131 Data loss when the disk is full",
            "suggestion storage/engine.rs:9 Inconsistent naming",
        ],
    );
}

#[test]
fn table_of_priorities() {
    assert_said(
        "priorities.md",
        &[
            "critical packages/core/src/index.ts:12 The default export is removed, every consumer breaks",
            "suggestion packages/core/README.md:40 The example does not compile",
        ],
    );
}

#[test]
fn folded_comments_with_coloured_marks() {
    assert_said(
        "folded.md",
        &[
            "critical src/net/http.cpp:77 Use after free: `conn` is deleted before the callback runs",
            "important src/net/http.cpp:90-95 Consider `std::string_view`",
        ],
    );
}

#[test]
fn plain_words_as_headings() {
    assert_said(
        "must.md",
        &[
            "critical infra/main.tf:44 the bucket is public",
            "critical infra/iam.tf:9-20 wildcard action",
            "important infra/vars.tf:3 no validation",
            "suggestion infra/out.tf:1 describe the outputs",
        ],
    );
}

#[test]
fn text_without_review_is_rejected() {
    for text in [
        "I could not reach the model; see src/main.rs:3 for the log.",
        "Error: rate limited (major outage of the service)",
        "Let me look at src/a.rs:12 first, then at src/b.rs:40.",
        "| File | Lines |\n|---|---|\n| src/a.rs | 12 |\n",
    ] {
        assert!(
            parse::detect_and_parse("r", text.as_bytes()).is_err(),
            "{text}"
        );
    }
}
