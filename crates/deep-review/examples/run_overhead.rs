//! Measures what `deep-review run` adds to its slowest reviewer on a repository of 50,000 files: makes a repository,
//! runs reviewers that answer at once, and prints the wall-clock time, all of which is overhead.
//!
//! `cargo build --release -p deep-review && cargo run --release -p deep-review --example run_overhead [FILES]`
//! (the promise: at most 2 s).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Files in the repository unless the argument gives another number.
const FILES: usize = 50_000;

/// Files in a folder.
const IN_FOLDER: usize = 100;

/// Number of measurements; the median is reported.
const TIMES: usize = 3;

fn main() -> anyhow::Result<()> {
    let files = std::env::args()
        .nth(1)
        .map_or(Ok(FILES), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("deep-review-bench-{}", std::process::id()));
    let result = measure(&folder, files);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path, files: usize) -> anyhow::Result<()> {
    let repository = folder.join("repository");
    for at in 0..files {
        let path = repository.join(format!("d{}/f{at}.txt", at / IN_FOLDER));
        if at % IN_FOLDER == 0 {
            std::fs::create_dir_all(repository.join(format!("d{}", at / IN_FOLDER)))?;
        }
        std::fs::write(path, format!("file {at}\n").repeat(20))?;
    }
    git(&repository, &["init", "-q", "-b", "main"])?;
    git(&repository, &["config", "gc.auto", "0"])?;
    commit(&repository, "Base")?;
    git(&repository, &["repack", "-adq"])?;
    git(&repository, &["checkout", "-q", "-b", "feature"])?;
    std::fs::write(repository.join("d0/f0.txt"), "changed\n")?;
    commit(&repository, "Change")?;
    let review =
        "## Findings\n\n### Suggestions\n\nS1. **A word** — `d0/f0.txt:1`\n\n```\nchanged\n```\n";
    std::fs::write(folder.join("review.md"), review)?;
    for (agents, analysers) in [(0, 1), (1, 0), (1, 2), (3, 0)] {
        let mut times = Vec::new();
        for time in 0..TIMES {
            times.push(once(folder, &repository, agents, analysers, time)?);
        }
        times.sort();
        say(&format!(
            "{files} files, {agents} agents, {analysers} analysers: {:.2} s (of {TIMES}: {times:.2?})",
            times[TIMES / 2].as_secs_f64()
        ));
    }
    Ok(())
}

fn once(
    folder: &Path,
    repository: &Path,
    agents: usize,
    analysers: usize,
    time: usize,
) -> anyhow::Result<Duration> {
    let mut config = String::new();
    let review = folder.join("review.md");
    for at in 0..agents + analysers {
        let worktree = if at < agents { "full" } else { "changed" };
        config.push_str(&format!(
            "[[reviewer]]\nname = \"r{at}\"\nkind = \"command\"\ncommand = [\"cat\", {review:?}]\nworktree = \"{worktree}\"\n"
        ));
    }
    std::fs::write(folder.join("config.toml"), config)?;
    let state = folder.join(format!("state-{agents}-{analysers}-{time}"));
    let program = std::env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .context("no target folder")?
        .join("deep-review");
    let started = Instant::now();
    let output = Command::new(program)
        .arg("--state")
        .arg(&state)
        .args(["run", "--quiet", "--config"])
        .arg(folder.join("config.toml"))
        .current_dir(repository)
        .stdin(Stdio::null())
        .output()?;
    let took = started.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "deep-review failed: {errors}");
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(
        report.contains("A word"),
        "no finding in the report: {report}"
    );
    Ok(took)
}

fn commit(repository: &Path, message: &str) -> anyhow::Result<()> {
    git(repository, &["add", "-A"])?;
    git(
        repository,
        &[
            "-c",
            "user.name=b",
            "-c",
            "user.email=b@localhost",
            "commit",
            "-q",
            "-m",
            message,
        ],
    )
}

fn git(repository: &Path, args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("git")
        .args(args)
        .current_dir(repository)
        .status()?;
    ensure!(status.success(), "git {args:?} failed");
    Ok(())
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
