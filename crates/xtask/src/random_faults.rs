//! `cargo xtask soak`: the long form of the soak; the test suite runs a short one.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;

use crate::workspace;

#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// The number of VMs
    #[arg(long, default_value_t = 10)]
    vms: usize,
    /// No new round of faults begins after so many minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// No new round of faults begins after so many faults
    #[arg(long, default_value_t = u32::MAX)]
    faults: u32,
    /// Decides the order of the faults; a random seed by default
    #[arg(long)]
    seed: Option<u64>,
    /// Set in the process inside the enclosure
    #[arg(long, hide = true)]
    inside: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 100_000,
    };
    if arguments.inside {
        return inside(arguments, seed);
    }
    workspace::cargo(&["build", "--release", "--locked", "--package", "rdd"])?;
    if !soak::ends_all() {
        println!(
            "namespaces of processes are not to be had here: a soak that is killed leaves its VMs behind"
        );
    }
    let [program, rest @ ..] = soak::enclosure() else {
        bail!("no command to run the soak with");
    };
    let status = Command::new(program)
        .args(rest)
        .arg(std::env::current_exe().context("cannot find this program")?)
        .args(["soak", "--inside", "--vms", &arguments.vms.to_string()])
        .args(["--minutes", &arguments.minutes.to_string()])
        .args(["--faults", &arguments.faults.to_string()])
        .args(["--seed", &seed.to_string()])
        .status()
        .with_context(|| format!("cannot run {program}: install util-linux"))?;
    if !status.success() {
        bail!("the soak failed ({status}); the same faults again: --seed {seed}");
    }
    Ok(())
}

fn inside(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let options = soak::Options {
        binary: workspace::target().join("release/rdd"),
        vms: arguments.vms,
        seed,
        duration: Duration::from_secs(arguments.minutes * 60),
        faults: arguments.faults,
        small_disk: true,
        kept: workspace::target().join("soak"),
        tell: |line| println!("{line}"),
    };
    let figures = match soak::run(&options) {
        Ok(figures) => figures,
        // Each step has been printed already.
        Err(violation) => bail!(
            "VIOLATED: {}; logs: {}",
            violation.what,
            violation.kept.display()
        ),
    };
    for (fault, count) in &figures.faults {
        println!("{count:>6}  {fault}");
    }
    let mut converged = figures.converged.clone();
    converged.sort_unstable();
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    println!("soak_faults {} faults", figures.count());
    println!("soak_rounds {} rounds", figures.rounds);
    println!("soak_orphans 0 processes");
    println!("soak_strangers_signalled 0 processes");
    println!("soak_vms_lost 0 VMs");
    println!(
        "soak_converged_median {:.1} s",
        seconds(converged.get(converged.len() / 2))
    );
    println!("soak_converged_max {:.1} s", seconds(converged.last()));
    println!("soak_starts_requested_again {} starts", figures.asked_again);
    Ok(())
}
