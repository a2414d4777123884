//! The Markdown pages of the project, and their links.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Links that lead nowhere.
pub(super) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for page in list(root)? {
        let text =
            fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        problems.extend(dead_links(&page, &text));
    }
    Ok(problems)
}

/// The Markdown files at the top, under docs/ and beside the code.
pub(super) fn list(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_to_nothing_is_named() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("page.md");
        let text = "[a](Cargo.toml) [b](nothing.md#part) [c](https://example.com) [d](#here)";
        let problems = dead_links(&here, text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("nothing.md"), "{problems:?}");
    }
}
