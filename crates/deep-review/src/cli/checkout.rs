//! The hidden commands for the shared checkout ([`crate::pristine`]). They are processes of their own, because a mount
//! namespace belongs to a whole process.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Hold {
    /// The repository
    #[arg(long)]
    repository: PathBuf,
    /// What to check out
    #[arg(long)]
    commit: String,
    /// The folder with the checkout and the reviewers' layers
    #[arg(long)]
    layers: PathBuf,
    /// Bytes that it takes in memory; 0: on the disk
    #[arg(long)]
    memory: u64,
}

#[derive(Debug, clap::Args)]
pub(super) struct Enter {
    /// The process that holds the checkout
    #[arg(long)]
    holder: String,
    /// The folder with the checkout and the reviewers' layers
    #[arg(long)]
    layers: PathBuf,
    /// The reviewer's layer
    #[arg(long)]
    name: String,
    /// The path at which the work tree appears
    #[arg(long)]
    at: PathBuf,
    /// The command to run in it
    #[arg(last = true, required = true)]
    argv: Vec<OsString>,
}

#[cfg(target_os = "linux")]
pub(super) fn hold(args: &Hold) -> Result<u8, Failure> {
    use super::SUCCESS;
    use crate::pristine::{READY, linux};
    use process::spawn::Notifier;

    let mut notifier = std::env::var(READY)
        .ok()
        .map(|value| Notifier::from_variable(&value))
        .transpose()?;
    let result = linux::hold(
        &args.repository,
        &args.commit,
        &args.layers,
        args.memory,
        || {
            // When the run exits, standard input reaches its end, and this process exits too.
            let _ = notifier.take().map(|notifier| notifier.ready(""));
        },
    );
    if let (Err(error), Some(notifier)) = (&result, notifier) {
        notifier.refused(&format!("{error:#}"))?;
    }
    result?;
    Ok(SUCCESS)
}

#[cfg(target_os = "linux")]
pub(super) fn enter(args: &Enter) -> Result<u8, Failure> {
    let holder = serde_json::from_str(&args.holder)?;
    let (layers, at) = (&args.layers, &args.at);
    Err(crate::pristine::linux::enter(&holder, layers, &args.name, at, &args.argv).into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn hold(_: &Hold) -> Result<u8, Failure> {
    Err(anyhow::anyhow!("a shared checkout needs Linux").into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(_: &Enter) -> Result<u8, Failure> {
    Err(anyhow::anyhow!("a shared checkout needs Linux").into())
}
