//! docs/lifecycle.md against the code: each hazard has a row, each row names tests that exist, and no test that bears a
//! hazard's number is missing from its row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

/// The page with the table.
const PAGE: &str = "docs/lifecycle.md";

/// Hazards are numbered from 1, and their numbers never change.
const HAZARDS: u32 = 45;

/// Everything that is wrong with the table.
pub(super) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let page = root.join(PAGE);
    let text =
        fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    Ok(compare(&rows(&text), &tests(&root.join("crates"))?))
}

/// The tests in the last column of each numbered row: `` `crate::test` ``.
fn rows(page: &str) -> BTreeMap<u32, BTreeSet<String>> {
    page.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
            let number = cells.first()?.trim().parse().ok()?;
            let names = cells.last()?.split('`').skip(1).step_by(2);
            Some((number, names.map(str::to_owned).collect()))
        })
        .collect()
}

/// All test functions below `crates`, as `crate::test`.
fn tests(crates: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut result = BTreeSet::new();
    for entry in fs::read_dir(crates)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        for folder in ["src", "tests"] {
            collect(&entry.path().join(folder), &name, &mut result)?;
        }
    }
    Ok(result)
}

fn collect(folder: &Path, crate_name: &str, into: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, crate_name, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            into.extend(test_functions(&text).map(|test| format!("{crate_name}::{test}")));
        }
    }
    Ok(())
}

/// The functions with an attribute that ends in `test]` or holds `test(`: `#[test]`, `#[tokio::test]`, `#[tokio::test(…)]`.
fn test_functions(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") {
            marked |= line.ends_with("test]") || line.contains("test(");
            return None;
        }
        let name = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next());
        // Between the mark and the function there can be attributes of several lines and comments.
        if name.is_some() || line.is_empty() {
            return std::mem::take(&mut marked).then_some(name).flatten();
        }
        None
    })
}

fn compare(rows: &BTreeMap<u32, BTreeSet<String>>, tests: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for number in 1..=HAZARDS {
        let Some(named) = rows.get(&number) else {
            problems.push(format!("{PAGE}: hazard {number} has no row"));
            continue;
        };
        if named.is_empty() {
            problems.push(format!("{PAGE}: hazard {number} names no test"));
        }
        for test in named.difference(tests) {
            problems.push(format!(
                "{PAGE}: hazard {number} names {test}, which does not exist"
            ));
        }
        for test in tests.iter().filter(|test| provokes(test, number)) {
            if !named.contains(test) {
                problems.push(format!(
                    "{PAGE}: hazard {number} does not name its test {test}"
                ));
            }
        }
    }
    problems
}

/// Whether the test's name begins with the hazard's number, or with several of which it is one: `h06_h28_…`.
fn provokes(test: &str, number: u32) -> bool {
    let mark = format!("h{number:02}");
    test.rsplit("::").next().is_some_and(|name| {
        name.split('_')
            .take_while(|part| {
                part.len() == 3
                    && part
                        .strip_prefix('h')
                        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            })
            .any(|part| part == mark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn tests_are_found_by_their_attribute() {
        let text = "#[test]\nfn one() {\n}\n\n#[tokio::test(flavor = \"multi_thread\")]\n#[cfg(unix)]\nasync fn two() {\n\nfn three() {";
        assert_eq!(test_functions(text).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn rows_without_tests_and_tests_without_rows_are_reported() {
        let tests = set(&[
            "process::h01_h03_kept",
            "process::h02_forgotten",
            "lima::h01_kept",
        ]);
        let rows = rows(
            "| # | hazard | tests |\n|---|---|---|\n| 1 | x | `process::h01_h03_kept` `lima::h01_kept` |\n\
             | 2 | x | `process::h02_gone` |\n| 3 | x | |\n",
        );
        let problems: Vec<_> = compare(&rows, &tests)
            .into_iter()
            .filter(|problem| !problem.contains("has no row"))
            .collect();
        let expected = [
            "docs/lifecycle.md: hazard 2 names process::h02_gone, which does not exist",
            "docs/lifecycle.md: hazard 2 does not name its test process::h02_forgotten",
            "docs/lifecycle.md: hazard 3 names no test",
            "docs/lifecycle.md: hazard 3 does not name its test process::h01_h03_kept",
        ];
        assert_eq!(problems, expected);
    }
}
