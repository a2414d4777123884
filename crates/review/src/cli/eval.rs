//! `deep-review eval`: measures parser and merger against reports that people merged.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::eval::{Outcome, Score, evaluate};
use crate::{import, merge};

/// Measures the parser and the merger against a folder of reports.
#[derive(Debug, clap::Args)]
pub(super) struct Eval {
    /// Folders with reports, or reports.
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Also print what was missed, one line each.
    #[arg(long)]
    misses: bool,
    /// The likeness from which two findings are one.
    #[arg(long, default_value_t = merge::THRESHOLD, value_name = "0..1")]
    threshold: f64,
    /// Print the totals as JSON.
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Runs it.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut sum = Outcome::default();
        let files = import::files(&self.paths)?;
        if !self.json {
            writeln!(
                out,
                "{:<44} {:>12} {:>12} {:>22} {:>12}",
                "report", "findings", "originals", "pairs F1", "attribution"
            )?;
        }
        for path in &files {
            let bytes = import::read(path)?;
            let text = String::from_utf8_lossy(&bytes);
            let outcome = evaluate(&text, self.threshold);
            sum.add(&outcome);
            if self.json {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let of = |s: Score| format!("{}/{}", s.both, s.truth);
            let pairs = outcome.merging.pairs;
            writeln!(
                out,
                "{name:<44} {:>12} {:>12} {:>22} {:>12}",
                of(outcome.consolidated),
                of(outcome.originals),
                format!("{:.2} ({} of {})", pairs.f1(), pairs.both, pairs.truth),
                format!("{:.2}", outcome.merging.attribution.f1()),
            )?;
            if self.misses {
                for miss in outcome.misses.iter().chain(&outcome.merging.misses) {
                    writeln!(out, "    {miss}")?;
                }
            }
        }
        if self.json {
            let text = serde_json::to_string_pretty(&sum.as_json(files.len()))
                .context("writing the totals as JSON")?;
            writeln!(out, "{text}")?;
        } else {
            writeln!(out, "\n{} reports\n{}", files.len(), sum.totals())?;
        }
        Ok(())
    }
}
