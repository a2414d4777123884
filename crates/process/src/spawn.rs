//! Starts children that outlive the call: the daemon, a hostagent, QEMU.
//!
//! Each child gets its own session (a signal to the parent's group or terminal does not reach it, and vice versa, hazard
//! 1), only the descriptors that it is given, a known signal state, and a mark by which its process tree can be found later
//! ([`crate::tree`]). Dropping a [`Child`] never kills it (hazard 11).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::cgroup::{Cgroup, Fresh};
use crate::held::{Exit, Process};
use crate::identity::Identity;
use crate::readiness;
use crate::sys;
use crate::tree::{self, Mark, Tree};

pub use readiness::{Notifier, Readiness, Start};

/// Attributes of a child. Setting one keeps the others (hazard 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Orphans below the child become the child's children instead of init's, so that its tree stays connected while it
    /// lives (Linux; ignored elsewhere).
    pub subreaper: bool,
    /// The kernel kills the child when the *thread* that started it ends (Linux; ignored elsewhere). Use it only on a thread
    /// that waits for the child.
    pub dies_with_us: bool,
    /// The child and all that it starts are in a control group of their own, where the system lets this user make one
    /// (Linux; ignored elsewhere). See [`Spawn::contained`].
    pub contained: bool,
    /// The child outlives its starter. See [`Spawn::long_lived`].
    pub long_lived: bool,
}

impl Attributes {
    /// Returns the union of both sets.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Attributes {
            subreaper: self.subreaper || other.subreaper,
            dies_with_us: self.dies_with_us || other.dies_with_us,
            contained: self.contained || other.contained,
            long_lived: self.long_lived || other.long_lived,
        }
    }
}

/// The target of a child's output.
#[derive(Debug)]
pub(crate) enum Output {
    Null,
    File(File),
    Pipe,
}

/// Builder of a child. Every setter adds to what was set before.
#[derive(Debug)]
pub struct Spawn {
    program: OsString,
    args: Vec<OsString>,
    inherit_all: bool,
    inherit: Vec<OsString>,
    env: BTreeMap<OsString, Option<OsString>>,
    cwd: Option<PathBuf>,
    pub(crate) stdin_pipe: bool,
    stdin: Option<File>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    attributes: Attributes,
    readiness: Option<OsString>,
    #[cfg(unix)]
    pass: Vec<std::os::fd::OwnedFd>,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("cannot start {program}: it is not installed, or not on PATH")]
    NotFound {
        /// The program.
        program: String,
    },
    /// Another step failed.
    #[error("cannot {action} {program}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The program.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// The child was started, but could not be opened.
    #[error("started {program}, but cannot open its process: {source}")]
    Lost {
        /// The program.
        program: String,
        /// What went wrong.
        source: crate::identity::Error,
    },
}

impl Spawn {
    /// A child that runs `program` (searched in PATH if it has no slash) with the environment of this process, without
    /// input, and with its output discarded.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Spawn {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            inherit_all: true,
            inherit: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            stdin_pipe: false,
            stdin: None,
            stdout: Output::Null,
            stderr: Output::Null,
            attributes: Attributes::default(),
            readiness: None,
            #[cfg(unix)]
            pass: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Removes a variable from the child's environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Passes only these variables of this process to the child, and those that [`Spawn::env`] sets. Several calls add up.
    #[must_use]
    pub fn env_only(mut self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inherit_all = false;
        self.inherit
            .extend(names.into_iter().map(|name| name.as_ref().to_owned()));
        self
    }

    /// Sets the child's working directory; the default is that of this process. See [`Spawn::long_lived`].
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.cwd = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets the open file, or end of a pipe, that is the child's stdin.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Sets the open file that is the child's stdout.
    #[must_use]
    pub fn stdout(mut self, file: File) -> Self {
        self.stdout = Output::File(file);
        self
    }

    /// Sets the open file that is the child's stderr.
    #[must_use]
    pub fn stderr(mut self, file: File) -> Self {
        self.stderr = Output::File(file);
        self
    }

    /// Adds attributes to those set before.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = self.attributes.merge(attributes);
        self
    }

    /// See [`Attributes::subreaper`].
    #[must_use]
    pub fn subreaper(self) -> Self {
        self.attributes(Attributes {
            subreaper: true,
            ..Attributes::default()
        })
    }

    /// For a child that this process waits for, and whose descendants may detach from it: gives the child its own cgroup
    /// where one is delegated to this user, and makes it a subreaper ([`Attributes::subreaper`]), which helps where none
    /// is. Best effort: the start does not fail where neither is possible.
    ///
    /// Not for the daemon, hostagents and QEMU: they outlive the process that could remove the cgroup, and their children
    /// do not detach.
    #[must_use]
    pub fn contained(self) -> Self {
        self.attributes(Attributes {
            contained: true,
            subreaper: true,
            ..Attributes::default()
        })
    }

    /// For a child that outlives its starter: the daemon, a hostagent, QEMU. Its umask is 077, so that its files are for
    /// their owner only, and its working directory is `/` unless [`Spawn::cwd`] sets another one, so that it keeps no file
    /// system busy.
    #[must_use]
    pub fn long_lived(mut self) -> Self {
        self.cwd.get_or_insert_with(|| PathBuf::from("/"));
        self.attributes(Attributes {
            long_lived: true,
            ..Attributes::default()
        })
    }

    /// Gives the child a pipe on which it reports that it is ready. The environment variable `variable` names the child's
    /// end, and the child passes its value to [`Notifier::from_variable`]. The parent's end is [`Child::readiness`].
    #[must_use]
    pub fn readiness(mut self, variable: impl AsRef<OsStr>) -> Self {
        self.readiness = Some(variable.as_ref().to_owned());
        self
    }

    /// Leaves `fd` open in the child under the same number, which is returned. All other descriptors are closed there.
    #[cfg(unix)]
    pub fn pass_fd(&mut self, fd: std::os::fd::OwnedFd) -> io::Result<i32> {
        use std::os::fd::AsRawFd;
        let fd = sys::child::above_stdio(fd)?;
        let number = fd.as_raw_fd();
        self.pass.push(fd);
        Ok(number)
    }

    /// Returns the program and its arguments, for messages.
    #[must_use]
    pub fn command_line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    pub(crate) fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Starts the child.
    pub fn spawn(mut self) -> Result<Child, SpawnError> {
        reap_dropped();
        let program = self.program_name();
        let io = |action| {
            let program = program.clone();
            move |source| SpawnError::Io {
                action,
                program,
                source,
            }
        };
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args);
        if !self.inherit_all {
            command.env_clear();
            for name in &self.inherit {
                if let Some(value) = std::env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mark = Mark::new();
        // A caller that sets the variable itself starts a new list; a test does so to mark everything that it runs.
        let above = match self.env.get(OsStr::new(tree::VARIABLE)) {
            Some(Some(set)) => Some(set.to_string_lossy().into_owned()),
            _ => sys::own_environment(tree::VARIABLE),
        };
        let marks = mark.below(above.as_deref());
        command.env(tree::VARIABLE, &marks);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.stdin(match self.stdin.take() {
            Some(file) => Stdio::from(file),
            None if self.stdin_pipe => Stdio::piped(),
            None => Stdio::null(),
        });
        command.stdout(std::mem::replace(&mut self.stdout, Output::Null));
        command.stderr(std::mem::replace(&mut self.stderr, Output::Null));

        let mut prepared = sys::child::Prepared::default();
        #[cfg(unix)]
        prepared.pass(std::mem::take(&mut self.pass));
        let mut readiness = None;
        if let Some(variable) = &self.readiness {
            let (ours, value) = prepared
                .readiness_pipe()
                .map_err(io("make the readiness pipe of"))?;
            command.env(variable, value);
            readiness = Some(Readiness::new(ours));
        }
        let fresh = if self.attributes.contained {
            Fresh::make(&marks)
        } else {
            None
        };
        let entrance = fresh.as_ref().map(Fresh::entrance);
        prepared.apply(&mut command, self.attributes, entrance);
        let started = command.spawn();
        let cgroup = fresh.map(Fresh::into_cgroup);
        if started.is_err()
            && let Some(cgroup) = &cgroup
        {
            cgroup.remove();
        }
        let child = started.map_err(|source| {
            // A missing working directory also gives "not found".
            if source.kind() == io::ErrorKind::NotFound
                && self.cwd.as_ref().is_none_or(|cwd| cwd.is_dir())
            {
                SpawnError::NotFound {
                    program: program.clone(),
                }
            } else {
                io("start")(source)
            }
        })?;
        // Closes this process's copies of what only the child needs, such as its end of the readiness pipe.
        drop(command);
        prepared
            .started(&child, &marks)
            .map_err(io("put into a job"))?;
        drop(prepared);
        let pid = child.id();
        let lost = |source| SpawnError::Lost {
            program: program.clone(),
            source,
        };
        let process = Process::of_child(pid)
            .map_err(lost)?
            .ok_or_else(|| crate::identity::Error::Inspect {
                pid,
                source: io::ErrorKind::NotFound.into(),
            })
            .map_err(lost)?;
        Ok(Child {
            inner: Some(child),
            process,
            mark,
            cgroup,
            readiness,
            status: None,
        })
    }
}

impl From<Output> for Stdio {
    fn from(output: Output) -> Stdio {
        match output {
            Output::Null => Stdio::null(),
            Output::File(file) => Stdio::from(file),
            Output::Pipe => Stdio::piped(),
        }
    }
}

/// A child of this process. Only this value reaps it (hazard 7). Dropping the value leaves the child running; it is then
/// reaped when another child is started or dropped after its end.
#[derive(Debug)]
pub struct Child {
    inner: Option<std::process::Child>,
    process: Process,
    mark: Mark,
    cgroup: Option<Cgroup>,
    readiness: Option<Readiness>,
    status: Option<ExitStatus>,
}

impl Child {
    /// Returns the identity of the child.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.process.identity()
    }

    /// Returns the process, to signal or watch it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the child with all its descendants, for [`tree::kill_tree`]; can be stored.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::new(self.identity().clone(), Some(self.mark.clone()))
    }

    /// Takes the parent's end of the readiness pipe, if [`Spawn::readiness`] requested one.
    pub fn readiness(&mut self) -> Option<Readiness> {
        self.readiness.take()
    }

    /// Waits for the end of the child and reaps it, so that its exit status is known. Blocks the thread.
    pub fn wait(&mut self, deadline: Instant) -> Exit {
        match self.process.wait(deadline) {
            Exit::Exited(_) => self.reap(),
            other => other,
        }
    }

    /// [`Child::wait`] for tokio. Safe to cancel.
    pub async fn wait_async(&mut self, deadline: Instant) -> Exit {
        match self.process.wait_async(deadline).await {
            Exit::Exited(_) => self.reap(),
            other => other,
        }
    }

    /// Waits for the end of the child without a deadline and reaps it, for a task that watches it. Safe to cancel.
    pub async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.ended().await?;
        match self.reap() {
            Exit::Exited(status) => Ok(status),
            Exit::Failed(error) => Err(error),
            Exit::TimedOut => Err(io::Error::other(
                "the child has ended, but cannot be reaped",
            )),
        }
    }

    fn reap(&mut self) -> Exit {
        if let Some(inner) = &mut self.inner {
            // Hardly blocks, because the process has ended; its other threads may take an instant longer.
            match inner.wait() {
                Ok(status) => self.status = Some(status),
                Err(error) => return Exit::Failed(error),
            }
            self.inner = None;
            if let Some(cgroup) = self.cgroup.take() {
                // Fails while a process is still in the cgroup; then killing the tree removes it.
                cgroup.remove();
            }
        }
        Exit::Exited(self.status)
    }

    pub(crate) fn take_pipes(
        &mut self,
    ) -> (
        Option<std::process::ChildStdin>,
        Option<std::process::ChildStdout>,
        Option<std::process::ChildStderr>,
    ) {
        match &mut self.inner {
            Some(inner) => (inner.stdin.take(), inner.stdout.take(), inner.stderr.take()),
            None => (None, None, None),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take()
            && let Ok(mut dropped) = DROPPED.lock()
        {
            dropped.push(inner);
        }
        reap_dropped();
    }
}

/// Dropped children that may still run. They are reaped when the next child is started or dropped, so that zombies do not
/// accumulate, without a thread or a signal handler.
static DROPPED: Mutex<Vec<std::process::Child>> = Mutex::new(Vec::new());

fn reap_dropped() {
    if let Ok(mut dropped) = DROPPED.lock() {
        dropped.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h02_setting_one_attribute_keeps_the_others() {
        let dies = Attributes {
            dies_with_us: true,
            ..Attributes::default()
        };
        let spawn = Spawn::new("true")
            .subreaper()
            .attributes(dies)
            .attributes(Attributes::default());
        assert_eq!(
            spawn.attributes,
            Attributes {
                subreaper: true,
                dies_with_us: true,
                contained: false,
                long_lived: false
            }
        );
        let spawn = spawn.contained().long_lived();
        assert!(spawn.attributes.dies_with_us && spawn.attributes.contained);
    }
}
