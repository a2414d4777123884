//! Writes a made-up report in every format: `cargo run -p review --example sample_report -- FOLDER`.

#![allow(clippy::unwrap_used, reason = "the made-up report is a constant")]

#[path = "../tests/report/sample.rs"]
mod sample;

use std::path::PathBuf;

use review::report;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let report = sample::sample();
    for (name, text) in [
        ("report.md", report::markdown(&report)),
        ("report.html", report::html(&report)),
        ("report.json", format!("{:#}", report::json(&report))),
        ("report.sarif", format!("{:#}", report::sarif(&report))),
        (
            "github-review.json",
            format!("{:#}", report::github(&report)),
        ),
        (
            "gl-code-quality.json",
            format!("{:#}", report::gitlab(&report)),
        ),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
