//! Starting a hostagent, asking it to stop, and killing one that hangs.

use std::path::Path;
use std::time::Duration;

use hostagent::client::{Client, SpawnOptions, spawn};
use lima::layout::InstanceDir;
use process::lock::Holder;
use process::{Identity, Process, Signal};

use crate::config::HostagentCommand;

/// Starts a hostagent. It boots the machine, or adopts the one that runs.
pub(super) async fn start(
    command: &HostagentCommand,
    dir: &InstanceDir,
) -> Result<Identity, String> {
    let mut args = command.args.clone();
    args.push("--dir".into());
    args.push(dir.path().into());
    let options = SpawnOptions {
        args,
        env: command.env.clone(),
        kept_logs: command.kept_logs,
        log_title: command.log_title.clone(),
    };
    let identity = spawn(&command.program, dir, &options).await;
    identity.map_err(|error| error.to_string())
}

/// Asks the hostagent to stop the VM within `grace`.
pub(super) async fn ask_to_stop(dir: &InstanceDir, grace: Duration) -> Result<(), String> {
    let stop = async { Client::connect(dir).await?.stop(grace).await };
    stop.await.map_err(|error| error.to_string())
}

/// Kills the process that holds `lock`; returns its PID, or `None` if the lock is free or does not name its holder.
pub(super) fn end_holder(lock: &Path) -> Result<Option<u32>, String> {
    // The lock file names its holder, whose start time is checked before it is signalled (hazard 6).
    let holder = match process::lock::holder(lock) {
        Ok(Holder::Held(Some(info))) => info.identity,
        _ => return Ok(None),
    };
    // The text can be wrong while the lock is held: its holder was frozen before it wrote the text, or a person edited
    // it. Then it may name this process, which takes the lock itself now and then to prove that it is free.
    if Identity::of_current().is_ok_and(|ours| ours == holder) {
        let path = lock.display();
        return Err(format!(
            "{path} is held and names this process ({}); stop the process that has that file open",
            holder.pid()
        ));
    }
    end_process(&holder)
}

/// Kills this process; returns its PID, or `None` if it is gone.
pub(super) fn end_process(identity: &Identity) -> Result<Option<u32>, String> {
    match Process::open(identity) {
        Ok(Some(process)) if process.is_running() => match process.signal(Signal::Kill) {
            Ok(()) => Ok(Some(identity.pid())),
            Err(error) => Err(error.to_string()),
        },
        Ok(_) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the process is alive; a process that cannot be examined is taken to be.
pub(super) fn is_alive(identity: &Identity) -> bool {
    match Process::open(identity) {
        Ok(None) => false,
        Ok(Some(process)) => process.is_running(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use process::FileLock;

    use super::*;

    #[test]
    fn h06_lock_that_names_this_process_causes_no_signal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.lock");
        assert_eq!(end_holder(&path), Ok(None), "the lock is free");
        // This process holds the lock and is named by it.
        let lock = FileLock::try_acquire(&path, "test").unwrap().unwrap();
        let error = end_holder(&path).unwrap_err();
        assert!(error.contains("names this process"), "{error}");
        drop(lock);
        assert_eq!(end_holder(&path), Ok(None));
    }
}
