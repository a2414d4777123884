//! What the build needs beyond cargo: generated files, the checks of CONTRIBUTING.md, and the measurements for PROMISES.md.

#![allow(clippy::print_stdout, reason = "a tool that people run in a terminal")]

#[cfg(target_os = "linux")]
mod assault;
mod bench;
mod check;
mod generate;
#[cfg(unix)]
mod random_faults;
mod workspace;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What the build needs beyond cargo", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes docs/cli.md and the CRDs again
    Docs,
    /// Fails when the sources, the docs or a generated file break a rule of CONTRIBUTING.md
    Check(check::Arguments),
    /// Causes random faults with many VMs and checks that no VM is lost (`make soak`)
    #[cfg(unix)]
    Soak(random_faults::Arguments),
    /// Attacks the daemon with hostile requests, connections, templates and files (`make assault`)
    #[cfg(target_os = "linux")]
    Assault(assault::Arguments),
    /// Measures the promises of PROMISES.md; each figure is one line, `name value unit`
    Bench {
        /// What to measure; everything if nothing is named
        #[arg(value_enum)]
        groups: Vec<bench::Group>,
        /// How often each daemon start is measured
        #[arg(long, default_value_t = 20)]
        starts: u32,
        /// How often each VM boot is measured
        #[arg(long, default_value_t = 3)]
        boots: u32,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Docs => generate::write(),
        Task::Check(arguments) => check::run(&arguments),
        #[cfg(unix)]
        Task::Soak(arguments) => random_faults::run(&arguments),
        #[cfg(target_os = "linux")]
        Task::Assault(arguments) => assault::run(&arguments),
        Task::Bench {
            groups,
            starts,
            boots,
        } => bench::run(&groups, starts, boots),
    }
}
