//! Cheap checks of the docs: generated files are current, links lead somewhere, every crate stands in the code map,
//! every hazard has its tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{generate, hazards, workspace};

pub(crate) fn run() -> anyhow::Result<()> {
    let root = workspace::root();
    let mut problems = Vec::new();
    let pages = pages(&root)?;
    for page in &pages {
        let text =
            fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        problems.extend(dead_links(page, &text));
    }
    problems.extend(crates_without_a_row(&root)?);
    problems.extend(hazards::problems(&root)?);
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    generate::check()?;
    println!(
        "{} pages checked, all links lead somewhere; generated files are current",
        pages.len()
    );
    Ok(())
}

/// The Markdown files at the top, under docs/ and beside the code.
fn pages(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut result = Vec::new();
    let mut folders = vec![root.to_owned(), root.join("docs")];
    folders.extend(
        fs::read_dir(root.join("crates"))?
            .flatten()
            .map(|entry| entry.path()),
    );
    for folder in folders {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        result.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
        );
    }
    result.sort();
    Ok(result)
}

/// Links to files that do not exist. Links to the network are not followed.
fn dead_links(page: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        let Some(end) = rest.find(')') else { break };
        let target = rest[..end].split('#').next().unwrap_or_default();
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let path = page.parent().unwrap_or(page).join(target);
        if !path.exists() {
            problems.push(format!(
                "{}: the link to {target} leads nowhere",
                page.display()
            ));
        }
    }
    problems
}

/// Crates that the code map of ARCHITECTURE.md does not name.
fn crates_without_a_row(root: &Path) -> anyhow::Result<Vec<String>> {
    let map =
        fs::read_to_string(root.join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let mut problems = Vec::new();
    for entry in fs::read_dir(root.join("crates"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !map.contains(&format!("| `{name}` |")) {
            problems.push(format!(
                "ARCHITECTURE.md: the code map has no row for the crate {name}"
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_named() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("page.md");
        let text = "[a](Cargo.toml) [b](nothing.md#part) [c](https://example.com) [d](#here)";
        let problems = dead_links(&here, text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("nothing.md"), "{problems:?}");
    }
}
