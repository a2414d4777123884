//! Children that outlive the call which made them: the daemon, a hostagent, QEMU.
//!
//! Each gets a session of its own (no signal for our group or terminal reaches it, and none of its reaches us, hazard
//! 1), nothing of ours but what it is given, and a mark by which its whole tree can be found later ([`crate::tree`]).
//! Dropping a [`Child`] never kills it (hazard 11).

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

/// What a child is given beyond its arguments. Setting one attribute keeps the others (hazard 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Orphans below the child become the child's children instead of init's, so that its tree stays one tree while
    /// it lives (Linux; ignored elsewhere).
    pub subreaper: bool,
    /// The kernel kills the child when the *thread* that started it ends (Linux; ignored elsewhere). Only for a thread
    /// that waits for the child.
    pub dies_with_us: bool,
    /// The child and all that it starts are in a control group of their own, where the system lets this user make one
    /// (Linux; ignored elsewhere). See [`Spawn::contained`].
    pub contained: bool,
    /// The child outlives its starter. See [`Spawn::long_lived`].
    pub long_lived: bool,
}

impl Attributes {
    /// Both sets together.
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

/// Where a child's output goes.
#[derive(Debug)]
pub(crate) enum Output {
    Null,
    File(File),
    Pipe,
}

/// Builds a child. Every setter adds to what was set before.
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
    /// The system found no such program.
    #[error("cannot start {program}: it is not installed, or not on PATH")]
    NotFound {
        /// What was to be started.
        program: String,
    },
    /// Something else.
    #[error("cannot {action} {program}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was started, but cannot be held.
    #[error("started {program}, but lost sight of it: {source}")]
    Lost {
        /// The program.
        program: String,
        /// What went wrong.
        source: crate::identity::Error,
    },
}

impl Spawn {
    /// A child that runs `program` (looked up in PATH when it has no slash), with our whole environment, no input, and
    /// its output thrown away.
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

    /// Keeps one of our variables from the child.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Gives the child only these of our variables, and those that [`Spawn::env`] sets. Several calls add up.
    #[must_use]
    pub fn env_only(mut self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inherit_all = false;
        self.inherit
            .extend(names.into_iter().map(|name| name.as_ref().to_owned()));
        self
    }

    /// The child's working directory; ours when not set. A long-lived child should have `/` or its own folder.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.cwd = Some(folder.as_ref().to_owned());
        self
    }

    /// The open file, or end of a pipe, that the child reads its standard input from.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// The open file that takes the child's standard output.
    #[must_use]
    pub fn stdout(mut self, file: File) -> Self {
        self.stdout = Output::File(file);
        self
    }

    /// The open file that takes the child's standard error.
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

    /// For a child that may try to get away, by intent or by accident, and that we wait for: a cgroup of its own where
    /// one is delegated to us, and orphans below it become its own ([`Attributes::subreaper`]), which helps where none
    /// is. Nothing else changes, and nothing fails when it is not possible.
    ///
    /// Not for the daemon, hostagents and QEMU: they outlive whoever could remove the group, and hide from nobody.
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

    /// Gives the child a pipe on which it tells that it is ready. Its end is named by the environment variable
    /// `variable`: the child hands the value to [`Notifier::from_variable`]. Ours is [`Child::readiness`].
    #[must_use]
    pub fn readiness(mut self, variable: impl AsRef<OsStr>) -> Self {
        self.readiness = Some(variable.as_ref().to_owned());
        self
    }

    /// Leaves `fd` open in the child, under the same number, which is returned. Everything else is closed there.
    #[cfg(unix)]
    pub fn pass_fd(&mut self, fd: std::os::fd::OwnedFd) -> io::Result<i32> {
        use std::os::fd::AsRawFd;
        let fd = sys::child::above_stdio(fd)?;
        let number = fd.as_raw_fd();
        self.pass.push(fd);
        Ok(number)
    }

    /// The program and its arguments, for messages.
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

    /// Starts it.
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
        // A caller that sets the marks by hand starts a new list (a test's own mark above everything it runs).
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
            // A working directory that is not there says "not found" too.
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
        // Closes our copies of what the child alone shall hold, such as its end of the readiness pipe.
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

/// A child of this process. The value is the only one that may reap it (hazard 7); dropping it leaves the child alone,
/// and somebody else reaps it once it has ended.
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
    /// Which process it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.process.identity()
    }

    /// The process, to be signalled or watched.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The child and all that it will have started, for [`tree::kill_tree`]; can be stored.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::new(self.identity().clone(), Some(self.mark.clone()))
    }

    /// Our end of the readiness pipe, once, when [`Spawn::readiness`] asked for one.
    pub fn readiness(&mut self) -> Option<Readiness> {
        self.readiness.take()
    }

    /// Waits for the end and reaps the child, so that its exit status is known. Blocks the thread.
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

    /// Waits for the end without a limit and reaps the child, for a task whose work it is to watch it. Safe to cancel.
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
            // Does not block in practice: the process has ended. (Its other threads may take an instant to.)
            match inner.wait() {
                Ok(status) => self.status = Some(status),
                Err(error) => return Exit::Failed(error),
            }
            self.inner = None;
            if let Some(cgroup) = self.cgroup.take() {
                // Somebody may still be in it: then it goes when the tree is ended.
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

/// Children whose owner is gone and that may still run. They are reaped by whoever spawns or drops the next child, so
/// that no zombies pile up, without a thread or a signal handler for it.
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
