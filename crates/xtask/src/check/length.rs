//! No Rust file is longer than 600 lines: a longer one usually holds two ideas.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::known::{Known, Rule};
use crate::workspace;

/// The most lines of a file.
const LINES: usize = 600;

pub(super) fn problems(root: &Path, known: &Known) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for path in workspace::rust_files(&root.join("crates"))? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = workspace::name(root, &path);
        let too_long = problem(&name, &text).into_iter().collect();
        problems.extend(known.judge(Rule::Length, &name, too_long));
        names.push(name);
    }
    problems.extend(known.strangers(Rule::Length, &names));
    Ok(problems)
}

fn problem(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES).then(|| format!("{name}: {lines} lines; a file has at most {LINES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_601_lines_is_reported() {
        assert_eq!(problem("a.rs", &"x\n".repeat(LINES)), None);
        let found = problem("a.rs", &"x\n".repeat(LINES + 1)).expect("a problem");
        assert!(found.contains("601 lines"), "{found}");
    }
}
