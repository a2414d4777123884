//! How a change can affect its own analysers: their configuration files, lint tables of manifests, and comments that
//! switch a rule off.
//!
//! Analysers see their configuration as it is at the merge base, and the report says what the change does to it. A comment
//! that disables a rule is no evidence that a finding is fixed.

use std::sync::LazyLock;

use regex::Regex;

use crate::diff::Diff;

/// Names of files that configure analysers, the toolchain or what a build starts.
const NAMES: [&str; 34] = [
    "ruff.toml",
    ".ruff.toml",
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    ".flake8",
    ".pylintrc",
    "mypy.ini",
    ".semgrep.yml",
    ".semgrep.yaml",
    ".semgrepignore",
    "clippy.toml",
    ".clippy.toml",
    "rustfmt.toml",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".shellcheckrc",
    "shellcheckrc",
    ".hadolint.yaml",
    ".hadolint.yml",
    ".golangci.yml",
    ".golangci.yaml",
    ".golangci.toml",
    "staticcheck.conf",
    "biome.json",
    "biome.jsonc",
    "deny.toml",
    ".gitleaks.toml",
    ".gitleaksignore",
    "actionlint.yaml",
    "actionlint.yml",
    ".markdownlint.json",
    ".yamllint",
    ".eslintignore",
];

/// Whether a file configures analysers, the toolchain or what a build starts.
#[must_use]
pub fn configures(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    NAMES.contains(&name)
        || name.starts_with(".eslintrc")
        || name.starts_with("eslint.config.")
        || path == ".cargo/config"
        || path == ".cargo/config.toml"
        || path.ends_with("/.cargo/config")
        || path.ends_with("/.cargo/config.toml")
}

/// Whether a file is a manifest whose lint tables configure the analyser, beside much else.
#[must_use]
pub fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

/// The manifest of the head with the lint tables of the base; `None` if they are the same.
#[must_use]
pub fn with_lints_of(base: &str, head: &str) -> Option<String> {
    let (base_lints, _) = split_lints(base);
    let (head_lints, rest) = split_lints(head);
    (base_lints != head_lints).then(|| format!("{rest}\n{base_lints}"))
}

/// The lint tables of a manifest, and the rest.
fn split_lints(manifest: &str) -> (String, String) {
    let (mut lints, mut rest) = (String::new(), String::new());
    let mut inside = false;
    for line in manifest.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            let name: String = trimmed
                .chars()
                .filter(|c| !c.is_whitespace() && !matches!(c, '[' | '"' | '\''))
                .collect();
            inside = ["lints]", "lints.", "workspace.lints]", "workspace.lints."]
                .iter()
                .any(|table| name.starts_with(table));
        }
        let dotted = !inside && (trimmed.starts_with("lints.") || trimmed.starts_with("lints ="));
        let part = if inside || dotted {
            &mut lints
        } else {
            &mut rest
        };
        part.push_str(line);
        part.push('\n');
    }
    (lints.trim().to_owned(), rest)
}

#[expect(
    clippy::unwrap_used,
    reason = "the pattern is a constant, and a test compiles it"
)]
static SUPPRESSION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?xi)
        \s*(?:\#|//|/\*|--|<!--)\s*(?:
            (?:ruff:\s*|flake8:\s*)?noqa\b | shellcheck\s+disable | hadolint\s+(?:global\s+)?ignore | nosemgrep\b | nosec\b
            | nolint\b | lint:(?:file-)?ignore\b | eslint-disable | biome-ignore | type:\s*ignore | pylint:\s*disable
            | pyright:\s*ignore | mypy:\s*ignore | gitleaks:allow | noinspection | NOSONAR | ts-(?:ignore|expect-error|nocheck)
            | @ts-(?:ignore|expect-error|nocheck) | markdownlint-disable | yamllint\s+disable
        ).*$
        | ^\s*\#!?\[\s*(?:allow|expect)\s*\(.*\)\s*\]
        | ^\s*\#!?\[\s*cfg_attr\s*\(.*\b(?:allow|expect)\s*\(.*\)\s*\]",
    )
    .unwrap()
});

/// A line of code without a comment or an attribute that switches a rule off.
#[must_use]
pub fn without_suppression(line: &str) -> &str {
    match SUPPRESSION.find(line) {
        // An attribute may have code behind it.
        Some(found) if found.start() == 0 && found.end() < line.len() => &line[found.end()..],
        Some(found) => &line[..found.start()],
        None => line,
    }
}

/// The effects of a change on its analysers, one sentence each: `files` with its configuration, and lines that it adds to switch
/// rules off.
#[must_use]
pub fn effects(diff: &Diff) -> Vec<String> {
    let mut result: Vec<String> = diff
        .files
        .iter()
        .filter(|file| configures(&file.path) || file.old_path.as_deref().is_some_and(configures))
        .map(|file| {
            format!(
                "The change edits {}; analysers used it as it is at the merge base.",
                file.path
            )
        })
        .collect();
    let mut added: Vec<&str> = diff
        .patch
        .lines()
        .filter(|line| line.starts_with('+') && !line.starts_with("+++"))
        .map(|line| &line[1..])
        .filter(|line| without_suppression(line) != *line)
        .collect();
    let count = added.len();
    added.truncate(SHOWN);
    if count > 0 {
        let shown: Vec<String> = added
            .iter()
            .map(|line| format!("`{}`", crate::plain::one_line(line, 120).replace('`', "'")))
            .collect();
        let more = if count > SHOWN { ", …" } else { "" };
        result.push(format!(
            "The change adds {count} line{} that switch rules of analysers off: {}{more}",
            if count == 1 { "" } else { "s" },
            shown.join(", ")
        ));
    }
    result
}

/// How many lines that switch rules off are shown.
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_that_switches_a_rule_off_is_recognised() {
        for (line, code) in [
            ("import os  # noqa: F401", "import os"),
            ("rm -rf $X  # shellcheck disable=SC2115", "rm -rf $X"),
            ("# hadolint ignore=DL3007", ""),
            ("let x = y; // nolint:errcheck", "let x = y;"),
            ("#[allow(clippy::needless_return)]", ""),
            ("#[allow(dead_code)] fn f() {}", " fn f() {}"),
            ("x = f()  # type: ignore[arg-type]", "x = f()"),
            ("// eslint-disable-next-line no-eval", ""),
            ("# a comment about noqa", "# a comment about noqa"),
            ("allow(request)", "allow(request)"),
        ] {
            assert_eq!(without_suppression(line), code, "{line}");
        }
    }

    #[test]
    fn lint_tables_come_from_the_base() {
        let base = "[package]\nname = \"a\"\n\n[lints.clippy]\nunwrap_used = \"deny\"\n";
        let head = "[package]\nname = \"a\"\n\n[lints.clippy]\nunwrap_used = \"allow\"\n\n[dependencies]\nx = \"1\"\n";
        let merged = with_lints_of(base, head).unwrap();
        assert!(
            merged.contains("unwrap_used = \"deny\"") && !merged.contains("allow"),
            "{merged}"
        );
        assert!(merged.contains("x = \"1\""));
        assert_eq!(
            with_lints_of(base, &format!("{base}\n[dependencies]\n")),
            None
        );
        let removed = with_lints_of(base, "[package]\nname = \"a\"\n").unwrap();
        assert!(removed.contains("deny"));
    }

    #[test]
    fn configuration_is_known_by_its_name() {
        for path in [
            "ruff.toml",
            "a/b/ruff.toml",
            ".cargo/config.toml",
            "rust-toolchain.toml",
            "web/.eslintrc.json",
        ] {
            assert!(configures(path), "{path}");
        }
        assert!(!configures("src/ruff.rs") && !configures("config.toml"));
    }
}
