//! The measurements for PROMISES.md. Machines are noisy, so minimum and median are printed and nothing is asserted.

mod daemon;
mod figure;
mod recovery;
mod vm;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::workspace;

/// A group of measurements.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Start, memory and size of the daemon
    Daemon,
    /// Durable creates, watches, opening
    Store,
    /// The API under load
    Api,
    /// Boot and stop of a VM
    Vm,
    /// Adoption after a kill, the stop of VMs that ignore their shutdown
    Recovery,
}

pub(crate) fn run(groups: &[Group], starts: u32, boots: u32) -> anyhow::Result<()> {
    let wanted = |group| groups.is_empty() || groups.contains(&group);
    if wanted(Group::Daemon) || wanted(Group::Vm) || wanted(Group::Recovery) {
        workspace::cargo(&["build", "--release", "--locked", "--package", "rdd"])?;
    }
    if wanted(Group::Daemon) {
        daemon::measure(&binary(), starts)?;
    }
    if wanted(Group::Store) {
        workspace::cargo(&["bench", "--locked", "--package", "store"])?;
    }
    if wanted(Group::Api) {
        workspace::cargo(&["bench", "--locked", "--package", "apiserver"])?;
    }
    if wanted(Group::Vm) {
        vm::measure(&binary(), boots)?;
    }
    if wanted(Group::Recovery) {
        recovery::measure(&binary())?;
    }
    Ok(())
}

/// The release binary.
fn binary() -> PathBuf {
    workspace::target().join("release/rdd")
}
