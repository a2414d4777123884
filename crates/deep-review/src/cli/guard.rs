//! A small process beside each run: when the run dies without a chance to clean up (`kill -9`), the guard kills the
//! reviewers' remaining processes and removes their work trees.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::spawn::{Child, Spawn};
use process::{Identity, Process, Signal};

use super::{Failure, SUCCESS};
use crate::git::Git;
use crate::run::sweep;
use crate::state::TargetFolder;

/// The longest time a guard runs. No run takes longer, so a guard that reaches the limit has lost its run.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// The time limit for a killed guard to exit.
const AN_INSTANT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository
    repository: PathBuf,
    /// The target's state folder
    target: PathBuf,
    /// The run's process
    run: String,
}

/// The guard of this process.
pub(super) struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut guard) = self.0.take() {
            if let Err(error) = guard.process().signal(Signal::Kill) {
                tracing::debug!(%error, "the guard ends by itself");
            }
            let _ = guard.wait(Instant::now() + AN_INSTANT);
        }
    }
}

/// Starts this process's guard. Without a guard, the next run cleans up.
pub(super) fn start(repository: &Path, target: &Path) -> Guard {
    let started = (|| -> anyhow::Result<Child> {
        let us = serde_json::to_string(&Identity::of_current()?)?;
        Ok(Spawn::new(std::env::current_exe()?)
            .arg("guard")
            .arg(repository)
            .arg(target)
            .arg(us)
            .env_only([
                "PATH",
                "HOME",
                "SYSTEMROOT",
                "GIT_CONFIG_GLOBAL",
                "GIT_CONFIG_NOSYSTEM",
                "XDG_STATE_HOME",
            ])
            .cwd("/")
            .spawn()?)
    })();
    if let Err(error) = &started {
        tracing::warn!(%error, "no guard; the next run cleans up");
    }
    Guard(started.ok())
}

pub(super) fn main(args: &Args) -> Result<u8, Failure> {
    let run: Identity = serde_json::from_str(&args.run)?;
    if let Some(run) = Process::open(&run)? {
        let _ = run.wait(Instant::now() + LONGEST);
    }
    let git = Git::open(&args.repository)?;
    let folder = TargetFolder::at(&args.target);
    // The next run has the lock already and cleans up itself.
    if let Ok(_lock) = folder.lock() {
        sweep::target(&git, &folder);
    }
    Ok(SUCCESS)
}
