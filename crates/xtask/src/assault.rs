//! `cargo xtask assault`: hostile requests, connections, templates and files against a release build.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::workspace;

/// The daemon's resident memory during any trial (PROMISES.md).
const MEMORY_LIMIT: u64 = 200 << 20;
/// The owner's longest wait for an answer during any trial (PROMISES.md).
const OWNER_LIMIT: Duration = Duration::from_secs(1);

#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// How many minutes the fuzzer runs
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// How many anonymous connections are opened at once
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
    /// What the fuzzer sends
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the trials whose name contains this text
    #[arg(long)]
    only: Option<String>,
    /// The program to attack, instead of a release build of this tree
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let binary = match &arguments.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => {
            workspace::cargo(&["build", "--release", "--locked", "--package", "rdd"])?;
            workspace::target().join("release/rdd")
        }
    };
    let options = assault::Options {
        binary,
        seed: arguments.seed,
        fuzz: Duration::from_secs(arguments.minutes * 60),
        connections: arguments.connections,
        memory_limit: MEMORY_LIMIT,
        owner_limit: OWNER_LIMIT,
        only: arguments.only.clone(),
        print: |line| println!("{line}"),
    };
    let report = assault::run(&options).map_err(anyhow::Error::msg)?;
    println!("assault_peak_memory {} MiB", report.peak() >> 20);
    println!(
        "assault_owner_waited_max {} ms",
        report.owner_waited().as_millis()
    );
    println!("{} tried, {} held", report.verdicts.len(), report.held());
    if report.held() < report.verdicts.len() {
        bail!("{} trials failed", report.verdicts.len() - report.held());
    }
    Ok(())
}
