//! A made-up report about a made-up program, rich enough to show everything.

use std::collections::BTreeMap;

use review::merge;
use review::model::{
    ChangeKind, Check, CheckKind, CheckResult, Class, Coverage, Evidence, Excerpt, FileChange,
    Finding, History, Location, Note, Outcome, Performance, Prose, Report, Review, ReviewerRun,
    Round, Scope, Severity, Target, Verdict, Voice,
};
use review::report;

const RESUME: &str = r#"//! Picks up a download where it broke off.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

/// What is known of a file that is half there.
pub struct Partial {
    path: PathBuf,
    etag: Option<String>,
}

impl Partial {
    /// Appends what is missing.
    pub async fn resume(&self, client: &Client, url: &Url) -> Result<u64> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let have = file.seek(SeekFrom::End(0))?;
        let mut request = client.get(url.clone());
        request = request.header("Range", format!("bytes={have}-"));
        let mut response = request.send().await?;
        // The server sends what we asked for.
        while let Some(chunk) = response.chunk().await? {
            file.write_all(&chunk)?;
        }
        Ok(file.metadata()?.len())
    }
}
"#;

const INDEX: &str = r#"impl Index {
    /// Drops entries that were not used for a while.
    pub fn evict(&mut self, now: SystemTime, keep: u64) {
        let mut used: u64 = self.entries.values().map(|e| e.size).sum();
        let mut by_age: Vec<_> = self.entries.keys().cloned().collect();
        by_age.sort_by_key(|k| self.entries[k].last_used);
        for key in by_age {
            if used <= keep {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                used -= entry.size;
                let _ = fs::remove_file(&entry.path);
            }
        }
    }
}
"#;

fn place(path: &str, start: u32, end: u32) -> Location {
    Location {
        path: path.to_owned(),
        start: Some(start),
        end: (end > start).then_some(end),
    }
}

fn check(kind: CheckKind, result: CheckResult, detail: &str) -> Check {
    Check {
        kind,
        result,
        detail: detail.to_owned(),
    }
}

fn located(detail: &str) -> Vec<Check> {
    vec![
        check(CheckKind::File, CheckResult::Confirmed, ""),
        check(CheckKind::Quote, CheckResult::Confirmed, detail),
        check(
            CheckKind::Diff,
            CheckResult::Confirmed,
            "added by this change",
        ),
    ]
}

fn finding(id: &str, severity: Severity, title: &str, at: Location, explanation: &str) -> Finding {
    Finding {
        locations: vec![at],
        explanation: explanation.to_owned(),
        class: Some(Class::Regression),
        ..Finding::new(id, severity, title)
    }
}

fn note(text: &str) -> Note {
    Note {
        text: text.to_owned(),
        reviewers: Vec::new(),
    }
}

fn covered(all: &[(&str, &str)]) -> Vec<Coverage> {
    all.iter()
        .map(|(path, status)| Coverage {
            path: (*path).to_owned(),
            status: (*status).to_owned(),
        })
        .collect()
}

fn run(name: &str, outcome: Outcome, review: Review, performance: Performance) -> ReviewerRun {
    ReviewerRun {
        name: name.to_owned(),
        outcome,
        original: original(&review),
        review: Review {
            reviewer: name.to_owned(),
            ..review
        },
        performance,
    }
}

/// What the reviewer may have written.
fn original(review: &Review) -> String {
    if review.findings.is_empty() && review.summary.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "## Executive Summary\n\n{}\n\n## Findings\n",
        review.summary
    );
    for f in &review.findings {
        let at = f.locations.first();
        text.push_str(&format!(
            "\n{}. **{}** — `{}:{}`\n\n{}\n",
            f.id,
            f.title,
            at.map_or("", |l| &l.path),
            at.and_then(|l| l.start).unwrap_or(1),
            f.explanation
        ));
    }
    text
}

const FINISHED: Outcome = Outcome::Finished { warning: None };

fn claude() -> ReviewerRun {
    let review = Review {
        summary: "The resume path trusts the server too much.".to_owned(),
        findings: vec![
            Finding {
                quote: Some(
                    "        // The server sends what we asked for.\n        while let Some(chunk) = response.chunk().await? {\n            file.write_all(&chunk)?;\n        }\n"
                        .to_owned(),
                ),
                fix: Some(
                    "--- a/src/download/resume.rs\n+++ b/src/download/resume.rs\n@@ -17,5 +17,9 @@\n         request = request.header(\"Range\", format!(\"bytes={have}-\"));\n         let mut response = request.send().await?;\n-        // The server sends what we asked for.\n+        if response.status() != StatusCode::PARTIAL_CONTENT {\n+            file.set_len(0)?;\n+        }\n         while let Some(chunk) = response.chunk().await? {\n"
                        .to_owned(),
                ),
                evidence: vec![Evidence {
                    command: "cargo test -p tidepool resume_against_a_server_without_ranges".to_owned(),
                    output: Some(
                        "assertion `left == right` failed\n  left: 20971520\n right: 10485760\n".to_owned(),
                    ),
                }],
                checks: vec![
                    check(CheckKind::File, CheckResult::Confirmed, ""),
                    check(CheckKind::Quote, CheckResult::Corrected, "the quote is at lines 20-23, not 19-22"),
                    check(CheckKind::Diff, CheckResult::Confirmed, "added by this change"),
                    check(CheckKind::FixApplies, CheckResult::Confirmed, "git apply --check"),
                    check(CheckKind::Repro, CheckResult::Confirmed, "exit status 101, as claimed"),
                ],
                ..finding(
                    "C1",
                    Severity::Critical,
                    "A server that ignores `Range` doubles the file, and the cache serves it",
                    place("src/download/resume.rs", 20, 23),
                    "A server may answer a range request with `200 OK` and the whole body (RFC 9110 §14.2). `resume` \
                     never looks at the status, so it **appends the whole file** to the half that is there:\n\n\
                     1. 10 MB are on disk, the connection breaks.\n2. `resume` asks for `bytes=10485760-`.\n\
                     3. The mirror answers `200` with all 20 MB.\n4. The file has 30 MB, and `Index::insert` takes it.\n\n\
                     Nothing checks the digest after a resumed download, so every client gets the broken image until \
                     an administrator deletes it by hand.",
                )
            },
            Finding {
                quote: Some("                let _ = fs::remove_file(&entry.path);\n".to_owned()),
                checks: located("lines 51-51"),
                ..finding(
                    "I1",
                    Severity::Important,
                    "`evict` forgets files that it could not delete",
                    place("src/cache/index.rs", 51, 51),
                    "The entry leaves the index before `remove_file` runs, and the error is thrown away. On a full or \
                     read-only disk the bytes stay and nothing knows of them any more, so `used` is wrong from then on.",
                )
            },
            Finding {
                scope: Some(Scope::Future),
                class: Some(Class::Enhancement),
                ..finding(
                    "S1",
                    Severity::Suggestion,
                    "Resume could use several ranges at once",
                    place("src/download/resume.rs", 13, 13),
                    "Mirrors allow it; the client is ready for it. Nothing for this change.",
                )
            },
            Finding {
                checks: located("line 8"),
                ..finding(
                    "S2",
                    Severity::Suggestion,
                    "`etag` is stored and never sent",
                    place("src/download/resume.rs", 9, 9),
                    "`If-Range` with the stored `etag` would make the server send the whole file when it changed. \
                     Without it a resumed download may be the head of one version and the tail of another.",
                )
            },
        ],
        strengths: vec![note(
            "**The partial file has a name of its own** until it is complete, so a crash never leaves half an image \
             under its final name — `src/download/mod.rs:40-58`.",
        )],
        concerns: vec![note(
            "**Two owners of the truth (in-scope)**: the index counts bytes, the directory holds them, and nothing \
             compares the two at start.",
        )],
        testing_gaps: vec![
            note("The tests have no server that answers `200` to a range request (C1)."),
            note("`evict` is tested with a disk that never fails."),
        ],
        coverage: covered(&[
            ("docs/cache.md", "Reviewed, no issues"),
            ("src/cache/index.rs", "I1"),
            ("src/download/mod.rs", "Reviewed, no issues"),
            ("src/download/resume.rs", "C1, S1, S2"),
            ("tests/resume.rs", "Reviewed, no issues"),
        ]),
        ..Review::default()
    };
    let performance = Performance {
        seconds: Some(412.0),
        tool_calls: vec![("Bash".to_owned(), 31), ("Read".to_owned(), 18)],
        input_tokens: Some(1_840_000),
        output_tokens: Some(21_400),
        cost_usd: Some(3.12),
    };
    run("Claude Opus", FINISHED, review, performance)
}

fn codex() -> ReviewerRun {
    let review = Review {
        summary: "One way to corrupt the cache, and an index that drifts.".to_owned(),
        findings: vec![
            Finding {
                quote: Some("        while let Some(chunk) = response.chunk().await? {\n            file.write_all(&chunk)?;\n        }\n".to_owned()),
                checks: located("lines 21-23"),
                ..finding(
                    "1",
                    Severity::Important,
                    "A server that ignores `Range` makes `resume` append the whole file",
                    place("src/download/resume.rs", 18, 23),
                    "The status of the response is not looked at. With `200 OK` the whole body is appended to the part \
                     that is already there; check for `206` and start over otherwise.",
                )
            },
            Finding {
                quote: Some("                let _ = fs::remove_file(&entry.path);\n".to_owned()),
                checks: located("line 51"),
                fix: Some("Remove the file first, and the entry only when that worked or the file was gone.".to_owned()),
                ..finding(
                    "2",
                    Severity::Important,
                    "`evict` forgets files that it could not delete: the error of `remove_file` is dropped",
                    place("src/cache/index.rs", 49, 52),
                    "Entry removed first, file second, error ignored: the index and the disk drift apart.",
                )
            },
            Finding {
                checks: vec![
                    check(CheckKind::File, CheckResult::Confirmed, ""),
                    check(CheckKind::Lines, CheckResult::Confirmed, ""),
                    check(CheckKind::Diff, CheckResult::Confirmed, "added by this change"),
                ],
                ..finding(
                    "3",
                    Severity::Important,
                    "`resume` writes through a blocking `File` on the async runtime",
                    place("src/download/resume.rs", 22, 22),
                    "`write_all` blocks the worker thread for each chunk. With eight downloads on a slow disk the health \
                     endpoint stops answering.",
                )
            },
            Finding {
                quote: Some("    self.lock().unwrap().flush()\n".to_owned()),
                checks: vec![
                    check(CheckKind::File, CheckResult::Confirmed, ""),
                    check(CheckKind::Quote, CheckResult::Refuted, "no line of src/download/mod.rs has it"),
                ],
                ..finding(
                    "4",
                    Severity::Important,
                    "`flush` takes the lock twice and hangs",
                    place("src/download/mod.rs", 77, 77),
                    "`flush` locks, and calls `sync`, which locks again.",
                )
            },
        ],
        strengths: vec![note("Errors name the address and the byte at which the download broke.")],
        documentation: vec![note("`docs/cache.md` does not say what `keep` counts: bytes on disk or bytes in the index.")],
        commit_structure: vec![note("Two commits, each builds and passes by itself.")],
        coverage: covered(&[
            ("docs/cache.md", "Reviewed"),
            ("src/cache/index.rs", "2"),
            ("src/download/mod.rs", "4"),
            ("src/download/resume.rs", "1, 3"),
            ("tests/resume.rs", "Reviewed, no issues"),
        ]),
        ..Review::default()
    };
    let performance = Performance {
        seconds: Some(318.0),
        tool_calls: vec![("shell".to_owned(), 44)],
        input_tokens: Some(960_000),
        output_tokens: Some(12_100),
        cost_usd: Some(1.48),
    };
    run("Codex", FINISHED, review, performance)
}

fn clippy() -> ReviewerRun {
    let review = Review {
        findings: vec![
            Finding {
                class: Some(Class::Enhancement),
                checks: located("line 44"),
                ..finding(
                    "1",
                    Severity::Suggestion,
                    "using `clone` on the keys of a map that is about to change",
                    place("src/cache/index.rs", 43, 44),
                    "`clippy::needless_collect`: the keys are collected to be iterated once.",
                )
            },
            Finding {
                class: Some(Class::Gap),
                checks: located("line 51"),
                ..finding(
                    "2",
                    Severity::Suggestion,
                    "non-binding `let` on a result with an error: `fs::remove_file`",
                    place("src/cache/index.rs", 51, 51),
                    "`clippy::let_underscore_must_use`: the error of `remove_file` is dropped.",
                )
            },
        ],
        summary: "2 warnings.".to_owned(),
        ..Review::default()
    };
    let performance = Performance {
        seconds: Some(8.4),
        ..Performance::default()
    };
    run("clippy", FINISHED, review, performance)
}

fn target() -> Target {
    let change = |path: &str, kind, added, removed, hunks: &[(u32, u32)]| FileChange {
        path: path.to_owned(),
        old_path: None,
        kind,
        added,
        removed,
        hunks: hunks.to_vec(),
    };
    let changes = vec![
        change("docs/cache.md", ChangeKind::Modified, 12, 3, &[(8, 30)]),
        change(
            "src/cache/index.rs",
            ChangeKind::Modified,
            24,
            6,
            &[(38, 58)],
        ),
        change(
            "src/download/mod.rs",
            ChangeKind::Modified,
            31,
            9,
            &[(30, 62)],
        ),
        change(
            "src/download/resume.rs",
            ChangeKind::Added,
            27,
            0,
            &[(1, 27)],
        ),
        change("tests/resume.rs", ChangeKind::Added, 88, 0, &[(1, 88)]),
    ];
    Target {
        name: "pr-128".to_owned(),
        repo: Some("https://github.com/example/tidepool".to_owned()),
        head: "5f3c9ad27be14c0f8a6a90d1f9b8c1277d0e4b55".to_owned(),
        base: "e01b7c4419aa4c5f2a3c8f60cf31c0d2b4b7a9d3".to_owned(),
        commits: vec![
            "8be21c7 Keep half-done downloads".to_owned(),
            "5f3c9ad Resume interrupted downloads".to_owned(),
        ],
        files: changes.iter().map(|c| c.path.clone()).collect(),
        title: Some("Resume interrupted downloads".to_owned()),
        author: Some("mara-q".to_owned()),
        url: Some("https://github.com/example/tidepool/pull/128".to_owned()),
        changes,
    }
}

fn closed(
    id: &str,
    severity: Severity,
    title: &str,
    at: Location,
    history: History,
) -> review::model::MergedFinding {
    let voice = Voice {
        reviewer: "Claude Opus".to_owned(),
        analyser: false,
        finding: finding(id, severity, title, at, "As round 1 said it."),
    };
    let mut merged = merge::join(vec![voice]).unwrap();
    merged.id = id.to_owned();
    merged.history = history;
    merged
}

/// The report: the third round of a pull request.
pub(crate) fn sample() -> Report {
    let gemini = run(
        "Gemini",
        Outcome::Failed {
            reason: "no usable output within 15 min; last words: `429 Too Many Requests`"
                .to_owned(),
        },
        Review::default(),
        Performance {
            seconds: Some(900.0),
            ..Performance::default()
        },
    );
    let reviewers = vec![claude(), codex(), gemini, clippy()];
    let mut findings = merge::merge(&reviewers);
    let mut excerpts = BTreeMap::new();
    for found in &mut findings {
        let at = &found.lead.locations[0];
        let text = match at.path.as_str() {
            "src/download/resume.rs" => RESUME.to_owned(),
            // The excerpt is at line 39 of its file.
            "src/cache/index.rs" => format!("{}{INDEX}", "\n".repeat(38)),
            _ => continue,
        };
        let focus = (at.start.unwrap(), at.end.or(at.start).unwrap());
        if let Some(cut) = Excerpt::cut(&at.path, &text, focus, 4, 40) {
            excerpts.insert(found.id.clone(), cut);
        }
        if found.lead.title.contains("blocking") {
            found.history = History::Open { since: 2 };
        }
    }
    let mut report = Report {
        version: report::FORMAT_VERSION,
        date: "2026-03-02T14:10:00Z".to_owned(),
        target: target(),
        round: 3,
        verdict: Verdict::default(),
        reviewers,
        findings,
        closed: vec![
            closed(
                "I2",
                Severity::Important,
                "Half-done files stay for ever",
                place("src/download/mod.rs", 44, 44),
                History::Fixed { since: 1 },
            ),
            closed(
                "S1",
                Severity::Suggestion,
                "The lock file could hold the process's start time",
                place("src/cache/index.rs", 12, 12),
                History::Declined {
                    since: 1,
                    reason: "one process by design; the service manager sees to it".to_owned(),
                },
            ),
        ],
        seconds: 914.0,
        prose: Prose::default(),
        rounds: vec![
            Round {
                number: 1,
                date: "2026-02-24T09:00:00Z".to_owned(),
                critical: 2,
                important: 4,
                suggestions: 5,
                ..Round::default()
            },
            Round {
                number: 2,
                date: "2026-02-26T16:30:00Z".to_owned(),
                critical: 0,
                important: 3,
                suggestions: 4,
                fixed: 5,
                declined: 1,
                ..Round::default()
            },
        ],
        excerpts,
        recommendations: vec![note(
            "Say that mirrors are outside our control: what they answer is input, not a promise.",
        )],
        ..Report::default()
    };
    report.verdict = report::verdict(&report);
    report.prose = report::compose(&report);
    report
}
