//! `deep-review stats`: figures of each reviewer over many reports.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::input;
use review::model::Report;
use review::parse::markdown::report;
use review::stats::{By, Collector, svg, table};

/// Figures of each reviewer over many reports: findings, how many of them no other reviewer had, how many were
/// confirmed.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Folders with reports (Markdown, or JSON from deep-review), or reports.
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Count the models of a vendor separately.
    #[arg(long)]
    by_model: bool,
    /// Also write a plot, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Runs it.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let by = if self.by_model { By::Name } else { By::Vendor };
        let mut collector = Collector::new(by);
        // A run writes one report in several formats into one folder; JSON comes first and has the most data.
        let mut counted: BTreeSet<PathBuf> = BTreeSet::new();
        for path in input::files(&self.paths)? {
            let name = path.with_extension("");
            if counted.contains(&name) {
                continue;
            }
            let bytes = input::read(&path)?;
            match serde_json::from_slice::<Report>(&bytes) {
                Ok(report) => {
                    collector.add_report(&report);
                    counted.insert(name);
                }
                Err(_) => collector.add_text(&report(&String::from_utf8_lossy(&bytes))),
            }
        }
        let all = collector.finish();
        if self.json {
            let text = serde_json::to_string_pretty(&all).context("writing the figures as JSON")?;
            writeln!(out, "{text}")?;
        } else {
            write!(out, "{}", table(&all))?;
        }
        if let Some(path) = &self.plot {
            std::fs::write(path, svg(&all))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}
