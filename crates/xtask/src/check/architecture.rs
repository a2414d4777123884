//! ARCHITECTURE.md against the crates: every crate is in the code map, the arrows are those of the `Cargo.toml`s, and
//! the crates that use `unsafe`, read the environment or depend on `anyhow` are the named ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::lexer::{Piece, pieces};
use crate::workspace;

const PAGE: &str = "ARCHITECTURE.md";

/// The beginnings of the rows that name crates: what such a row states, and how a crate is seen to do it.
const STATEMENTS: [(&str, Statement); 3] = [
    ("| has `unsafe` code |", Statement::Unsafe),
    ("| reads environment variables |", Statement::Environment),
    ("| depends on `anyhow` |", Statement::Anyhow),
];

#[derive(Clone, Copy)]
enum Statement {
    Unsafe,
    Environment,
    Anyhow,
}

/// What a crate is seen to do.
#[derive(Default)]
struct Seen {
    has_unsafe: bool,
    reads_environment: bool,
    dependencies: BTreeSet<String>,
}

pub(super) fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let page =
        fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let mut seen = BTreeMap::new();
    for name in workspace::crates()? {
        let looked_at = look(&root.join("crates").join(&name))?;
        seen.insert(name, looked_at);
    }
    Ok(compare(&page, &seen))
}

/// Reads the crate's manifest and its own sources. Its tests may do what they need.
fn look(folder: &Path) -> anyhow::Result<Seen> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut seen = Seen {
        dependencies: dependencies(&text)
            .with_context(|| format!("cannot read {}", manifest.display()))?,
        ..Seen::default()
    };
    for path in workspace::rust_files(&folder.join("src"))? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let pieces = pieces(&text);
        let names: Vec<&str> = pieces
            .iter()
            .filter_map(|(_, piece)| match piece {
                Piece::Identifier(name) => Some(*name),
                _ => None,
            })
            .collect();
        seen.has_unsafe |= names.contains(&"unsafe");
        seen.reads_environment |= names.windows(2).any(|pair| {
            pair[0] == "env" && ["home_dir", "var", "var_os", "vars", "vars_os"].contains(&pair[1])
        });
    }
    Ok(seen)
}

/// The names in `[dependencies]`, also in those of a target. What only tests need is left out.
fn dependencies(manifest: &str) -> anyhow::Result<BTreeSet<String>> {
    let manifest: toml::Table = toml::from_str(manifest)?;
    let mut tables: Vec<&toml::Table> = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    Ok(tables
        .iter()
        .filter_map(|table| table.get("dependencies")?.as_table())
        .flat_map(|dependencies| dependencies.keys().cloned())
        .collect())
}

fn compare(page: &str, seen: &BTreeMap<String, Seen>) -> Vec<String> {
    let mut problems = Vec::new();
    let is_crate = |name: &String| seen.contains_key(name);
    for name in seen.keys() {
        if !page.contains(&format!("\n| `{name}` |")) {
            problems.push(format!(
                "{PAGE}: the code map has no row for the crate {name}"
            ));
        }
    }
    for (name, crate_seen) in seen {
        let real: BTreeSet<String> = crate_seen
            .dependencies
            .iter()
            .filter(|name| is_crate(name))
            .cloned()
            .collect();
        let start = format!("- `{name}` → ");
        match page.lines().find_map(|line| line.strip_prefix(&start)) {
            None => problems.push(format!(
                "{PAGE}: no line `{start}…` says what {name} depends on"
            )),
            Some(rest) => problems.extend(differences(&format!("{name} → "), &names(rest), &real)),
        }
    }
    for (start, statement) in STATEMENTS {
        let real: BTreeSet<String> = seen
            .iter()
            .filter(|(_, seen)| match statement {
                Statement::Unsafe => seen.has_unsafe,
                Statement::Environment => seen.reads_environment,
                Statement::Anyhow => seen.dependencies.contains("anyhow"),
            })
            .map(|(name, _)| name.clone())
            .collect();
        match page.lines().find_map(|line| line.strip_prefix(start)) {
            None => problems.push(format!("{PAGE}: no row begins with `{start}`")),
            Some(rest) => {
                let said = names(rest)
                    .into_iter()
                    .filter(|name| is_crate(name))
                    .collect();
                problems.extend(differences(&format!("{start} "), &said, &real));
            }
        }
    }
    problems
}

/// The names between backticks.
fn names(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn differences(of: &str, said: &BTreeSet<String>, real: &BTreeSet<String>) -> Vec<String> {
    let missing = real
        .difference(said)
        .map(|name| format!("{PAGE}: `{of}` does not name {name}"));
    let untrue = said
        .difference(real)
        .map(|name| format!("{PAGE}: `{of}` names {name}, which is not true"));
    missing.chain(untrue).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "| has `unsafe` code | `low`, in `low/x.rs` |\n| reads environment variables | `low` |\n\
                        | depends on `anyhow` | `top` |\n";

    fn two_crates() -> BTreeMap<String, Seen> {
        let top = Seen {
            dependencies: dependencies(
                "[dependencies]\nanyhow = \"1\"\n[target.'cfg(unix)'.dependencies]\nlow.workspace = true\n\
                 [dev-dependencies]\nunseen = \"1\"",
            )
            .expect("TOML"),
            ..Seen::default()
        };
        let low = Seen {
            has_unsafe: true,
            reads_environment: true,
            ..Seen::default()
        };
        BTreeMap::from([("top".to_owned(), top), ("low".to_owned(), low)])
    }

    #[test]
    fn page_that_agrees_has_no_problem() {
        let page = format!(
            "# A\n| `top` | x |\n| `low` | x |\n- `top` → `low`\n- `low` → nothing\n{ROWS}"
        );
        assert_eq!(compare(&page, &two_crates()), [""; 0]);
    }

    #[test]
    fn missing_rows_wrong_arrows_and_untrue_statements_are_reported() {
        let rows = ROWS.replace(
            "environment variables | `low` |",
            "environment variables | `top` |",
        );
        let page = format!("# A\n| `top` | x |\n- `top` → nothing\n- `low` → `top`\n{rows}");
        let expected = [
            "ARCHITECTURE.md: the code map has no row for the crate low",
            "ARCHITECTURE.md: `low → ` names top, which is not true",
            "ARCHITECTURE.md: `top → ` does not name low",
            "ARCHITECTURE.md: `| reads environment variables | ` does not name low",
            "ARCHITECTURE.md: `| reads environment variables | ` names top, which is not true",
        ];
        assert_eq!(compare(&page, &two_crates()), expected);
    }

    #[test]
    fn unsafe_code_and_reads_of_the_environment_are_seen_in_sources() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("src")).expect("a folder");
        fs::write(folder.path().join("Cargo.toml"), "[dependencies]\n").expect("a manifest");
        let source = folder.path().join("src/lib.rs");
        let of = |text: &str| {
            fs::write(&source, text).expect("a source");
            let seen = look(folder.path()).expect("a crate");
            (seen.has_unsafe, seen.reads_environment)
        };
        assert_eq!(
            of("// unsafe, env::var\nfn f() { std::env::args(); }"),
            (false, false)
        );
        assert_eq!(of("fn f() { unsafe { g() } }"), (true, false));
        assert_eq!(of("fn f() { std::env::var_os(\"A\"); }"), (false, true));
    }
}
