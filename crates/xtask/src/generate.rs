//! Files that are generated from the code.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::workspace;

/// Writes every generated file. The tests that compare them with the code write them when `UPDATE_EXPECT` (the CRDs)
/// or `UPDATE_DOCS` (docs/cli.md) is set.
pub(crate) fn write() -> anyhow::Result<()> {
    for arguments in TESTS {
        run(arguments, true)?;
    }
    Ok(())
}

/// Fails when a generated file is not current.
pub(crate) fn check() -> anyhow::Result<()> {
    for arguments in TESTS {
        run(arguments, false).context("a generated file is not current: run `cargo xtask docs`")?;
    }
    Ok(())
}

/// The tests that own a generated file: docs/cli.md, and the CRDs. They run with
/// `--workspace`, because a crate by itself is compiled with other features of its dependencies, which would compile
/// everything twice.
const TESTS: [&[&str]; 2] = [
    &[
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "cli",
        "docs",
    ],
    &[
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "crds",
    ],
];

fn run(arguments: &[&str], update: bool) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(workspace::root());
    if update {
        command.env("UPDATE_EXPECT", "1").env("UPDATE_DOCS", "1");
    }
    let output = command.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
