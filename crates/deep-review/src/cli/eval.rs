//! `deep-review eval`: measures parser and merger against reports that people merged.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use review::merge;
use review_eval::{Outcome, Score, cross, evaluate};

use crate::input;

/// Measures the parser and the merger against a folder of reports.
#[derive(Debug, clap::Args)]
pub(super) struct Eval {
    /// Folders with reports, or reports.
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Also print the misses, one line each
    #[arg(long)]
    misses: bool,
    /// The likeness from which two findings are the same
    #[arg(long, default_value_t = merge::THRESHOLD, value_name = "0..1")]
    threshold: f64,
    /// Learn the weights and the threshold again with each target left out, and measure them on it.
    #[arg(long, conflicts_with_all = ["misses", "threshold", "json"])]
    cross_validate: bool,
    /// Print the totals as JSON.
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Runs it.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.cross_validate {
            return self.cross_validate(out);
        }
        let mut sum = Outcome::default();
        let files = input::files(&self.paths)?;
        if !self.json {
            writeln!(
                out,
                "{:<44} {:>12} {:>12} {:>22} {:>12}",
                "report", "findings", "originals", "pairs F1", "attribution"
            )?;
        }
        for path in &files {
            let bytes = input::read(path)?;
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

    /// A line for each target, the sum, and how far the weights move.
    fn cross_validate(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut texts = Vec::new();
        for path in input::files(&self.paths)? {
            let bytes = input::read(&path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            texts.push((name.into_owned(), text));
        }
        let folds = cross::validate(&texts);
        writeln!(
            out,
            "{:<44} {:>7} {:>10} {:>6} {:>20} {:>20}",
            "target left out", "reports", "threshold", "true", "pairs F1", "brackets F1"
        )?;
        let (mut pairs, mut brackets) = (Score::default(), Score::default());
        for fold in &folds {
            pairs.add(fold.pairs);
            brackets.add(fold.bracket_pairs);
            let of = |s: Score| format!("{:.2} ({} of {})", s.f1(), s.both, s.truth);
            writeln!(
                out,
                "{:<44} {:>7} {:>10.2} {:>6} {:>20} {:>20}",
                fold.target,
                fold.reports,
                fold.rule.threshold,
                fold.pairs.truth,
                of(fold.pairs),
                of(fold.bracket_pairs),
            )?;
        }
        writeln!(
            out,
            "\n{} targets, each measured by a rule that never saw it",
            folds.len()
        )?;
        for (name, s) in [
            ("pairs \"same defect\"", pairs),
            ("pairs of names in brackets", brackets),
        ] {
            writeln!(out, "{name:<34} {s}")?;
        }
        writeln!(
            out,
            "\n{:<12} {:>8} {:>8} {:>8}",
            "weight", "least", "most", "in use"
        )?;
        for (at, name) in cross::PART_NAMES.iter().enumerate() {
            let all = || folds.iter().map(|fold| fold.rule.weights.0[at]);
            writeln!(
                out,
                "{name:<12} {:>8.2} {:>8.2} {:>8.2}",
                all().fold(f64::INFINITY, f64::min),
                all().fold(f64::NEG_INFINITY, f64::max),
                merge::Rule::default().weights.0[at]
            )?;
        }
        Ok(())
    }
}
