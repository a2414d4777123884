//! `cargo xtask check`: the rules of the house that no compiler holds. Each part is one file; [`known`] lists what
//! does not keep a rule yet.

mod architecture;
mod circles;
mod hazards;
mod known;
mod length;
mod lexer;
mod module_tree;
mod pages;
mod platform;
mod prose;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use crate::{generate, workspace};
use known::Known;

/// The arguments of `cargo xtask check`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to check; nothing named: all of it
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Shows what this crate has to change to leave the list of crates that break a rule
    #[arg(long = "crate", value_name = "CRATE")]
    of: Option<String>,
}

/// One kind of check.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Links in the Markdown files lead to files that exist
    Links,
    /// docs/lifecycle.md names each test of a hazard
    Hazards,
    /// ARCHITECTURE.md agrees with the crates
    Architecture,
    /// Files of different folders do not import each other in a circle
    Circles,
    /// Comments, messages and names keep to plain words
    Prose,
    /// No source file is longer than 600 lines
    Length,
    /// Generated files are current; compiles the workspace
    Generated,
}

/// Runs the checks, and fails with every problem that they found.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = workspace::root();
    let crates = workspace::crates()?;
    if let Some(name) = &arguments.of {
        ensure!(
            crates.contains(name) || name == known::PAGES,
            "there is no crate {name} (and the pages and scripts are called {})",
            known::PAGES
        );
    }
    let known = match arguments.of {
        None => Known::read(&root)?,
        // To show what a crate still breaks, its exemption is left out.
        Some(_) => Known::default(),
    };
    let parts = match arguments.parts.as_slice() {
        [] => Part::value_variants(),
        some => some,
    };
    let chosen = |with_pages: bool| -> Vec<String> {
        match &arguments.of {
            Some(one) => vec![one.clone()],
            None if with_pages => crates
                .iter()
                .cloned()
                .chain([known::PAGES.to_owned()])
                .collect(),
            None => crates.clone(),
        }
    };
    let mut problems = Vec::new();
    for part in parts {
        problems.extend(match part {
            Part::Links => pages::problems(&root)?,
            Part::Hazards => hazards::problems(&root)?,
            Part::Architecture => architecture::problems(&root)?,
            Part::Circles => circles::problems(&root, &chosen(false), &known)?,
            Part::Prose => prose::problems(&root, &chosen(true), arguments.of.is_none(), &known)?,
            Part::Length => length::problems(&root, &known)?,
            Part::Generated => {
                if problems.is_empty() {
                    generate::check().context("the check of the generated files failed")?;
                }
                Vec::new()
            }
        });
    }
    if !problems.is_empty() {
        println!("{}", problems.join("\n"));
        bail!("{} problems", problems.len());
    }
    println!("no problem found");
    Ok(())
}
