//! `deep-review import`: merges existing reviews.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::run::OutputFormat;
use crate::input;
use review::import;

/// Merges existing reviews: one file for each reviewer, or reports whose appendices hold the originals.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Reviews and folders of them, in any format that a reviewer may print.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Earlier reports of the same target, JSON from deep-review or Markdown, or folders of them
    #[arg(long, value_name = "FILE|DIR")]
    earlier: Vec<PathBuf>,
    /// Write the reports into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The format of the report.
    #[arg(long, value_enum, default_value = "markdown")]
    format: OutputFormat,
}

impl Import {
    /// Runs it.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let now = super::now();
        let earlier = import::earlier(&input::all(&self.earlier)?)?;
        let name = match self.paths.as_slice() {
            [one] => import::stem(one),
            _ => "import".to_owned(),
        };
        for report in import::import(&input::all(&self.paths)?, &name, &earlier, &now) {
            let text = self
                .format
                .render(&report)
                .with_context(|| format!("writing the report of {}", report.target.name))?;
            match &self.output {
                Some(folder) => {
                    let name = format!("{}-{}", report.target.name, self.format.file());
                    let path = folder.join(name);
                    std::fs::create_dir_all(folder)
                        .with_context(|| format!("making {}", folder.display()))?;
                    std::fs::write(&path, text)
                        .with_context(|| format!("writing {}", path.display()))?;
                    writeln!(out, "{}", path.display())?;
                }
                None => writeln!(out, "{}", text.trim_end())?,
            }
        }
        Ok(())
    }
}
