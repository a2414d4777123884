//! The two processes that see the shared checkout: its holder, and a reviewer's process before it executes the agent.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use process::{Identity, Process, mounts};

use super::{INDEX, PRISTINE};
use crate::git::{Git, GitError};

/// Makes the checkout, reports it through `ready`, and holds it until the other end of standard input is closed.
/// `memory`: the bytes that the checkout takes in memory; 0: the checkout is made on the disk.
pub fn hold(
    repository: &Path,
    commit: &str,
    layers: &Path,
    memory: u64,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    mounts::own().context("cannot have mounts of our own")?;
    std::env::set_current_dir(layers)
        .with_context(|| format!("cannot go to {}", layers.display()))?;
    let pristine = Path::new(PRISTINE);
    if memory > 0 {
        mounts::memory(pristine, memory).context("cannot mount a file system in memory")?;
    }
    // Checked before the checkout, because the checkout takes seconds.
    let probe = Path::new(".probe");
    for name in ["upper", "work", "at"] {
        std::fs::create_dir_all(probe.join(name))?;
    }
    let at = probe.join("at");
    mounts::overlay(pristine, &probe.join("upper"), &probe.join("work"), &at)
        .context("cannot mount an overlay")?;
    mounts::hide(&at)?;
    check_out(&Git::open(repository)?, commit, layers)?;
    if memory > 0 {
        mounts::seal(pristine).context("cannot make the checkout read-only")?;
    }
    ready();
    // The run writes nothing to this pipe: it only closes it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn check_out(git: &Git, commit: &str, layers: &Path) -> Result<(), GitError> {
    let (index, tree) = (layers.join(INDEX), layers.join(PRISTINE));
    for args in [
        &["read-tree", "--end-of-options", commit][..],
        &["checkout-index", "--all", "--index", "--quiet"],
    ] {
        git.command(args)
            .env("GIT_INDEX_FILE", &index)
            .env("GIT_WORK_TREE", &tree)
            .run()?;
    }
    Ok(())
}

/// Executes the program `argv` in the work tree of the reviewer `name`, at `at`. Returns only when that fails.
pub fn enter(
    holder: &Identity,
    layers: &Path,
    name: &str,
    at: &Path,
    argv: &[OsString],
) -> anyhow::Error {
    match prepare(holder, layers, name, at) {
        Ok(()) => {}
        Err(error) => return error.context("cannot show the shared checkout"),
    }
    let Some((program, args)) = argv.split_first() else {
        return anyhow!("no command");
    };
    let error = Command::new(program).args(args).exec();
    anyhow!(error).context(format!("cannot start {}", program.to_string_lossy()))
}

fn prepare(holder: &Identity, layers: &Path, name: &str, at: &Path) -> anyhow::Result<()> {
    let holder = Process::open(holder)?.context("the process that holds it has exited")?;
    mounts::join(&holder).context("cannot join its mounts")?;
    std::env::set_current_dir(layers)?;
    let (pristine, mine) = (Path::new(PRISTINE), PathBuf::from(name));
    mounts::overlay(pristine, &mine.join("upper"), &mine.join("work"), at)
        .context("cannot mount the overlay")?;
    // Hides the checkout, which reviewers may access only through the overlay. A checkout on the disk is not mounted.
    if let Err(error) = mounts::hide(pristine)
        && error.kind() != std::io::ErrorKind::InvalidInput
    {
        return Err(error).context("cannot hide what is under the overlay");
    }
    // Changes into the folder again: the mount has covered the former current folder.
    std::env::set_current_dir(at)?;
    Ok(())
}

/// Returns the bytes that are free without reclaiming memory of others, both on the machine and in this control group.
#[must_use]
pub fn memory_available() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemAvailable:"))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kibibytes * 1024)
        })
        .unwrap_or(0);
    machine.min(group_available().unwrap_or(u64::MAX))
}

/// Returns what the nearest limit of a control group (version 2) leaves; `None` without a limit.
fn group_available() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = Path::new("/sys/fs/cgroup");
    let number = |path: PathBuf| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    top.join(own)
        .ancestors()
        .take_while(|folder| folder.starts_with(top))
        .filter_map(|folder| {
            let limit = number(folder.join("memory.max"))?;
            let used = number(folder.join("memory.current")).unwrap_or(0);
            Some(limit.saturating_sub(used))
        })
        .min()
}
