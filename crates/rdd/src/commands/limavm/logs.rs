//! `rdd limavm logs`: the log of a VM's hostagent.

use anyhow::bail;
use lima::layout::LimaHome;

use super::no_folder;
use crate::cli::LogsArgs;
use crate::context::Context;
use crate::tail;

/// Prints the log of a VM's hostagent.
pub(crate) fn run(context: &Context, name: &str, arguments: LogsArgs) -> anyhow::Result<()> {
    let dir = LimaHome::new(context.paths.lima_home()).instance(name)?;
    if !dir.path().is_dir() {
        return Err(no_folder::error(context, name));
    }
    let log = if arguments.stdout {
        dir.ha_stdout_log()
    } else {
        dir.ha_stderr_log()
    };
    if !log.exists() {
        bail!(
            "LimaVM {name:?} has no log at {}: it was never started",
            log.display()
        );
    }
    tail::print(&log, arguments.follow)
}
