//! How the outside asks a process to stop when it cannot reach its control socket: SIGTERM, SIGINT and SIGHUP on Unix,
//! a named event on Windows (which has no signals that reach another console, hazard 12).

use std::io;

use crate::held::Process;
use crate::sys;

/// What a process was asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM, or the named event: a service manager, `kill`, another program.
    Requested,
    /// SIGINT or Ctrl-C: the person at the terminal.
    Interrupted,
    /// SIGHUP, or the closed console.
    TerminalClosed,
}

/// Listens for requests to stop. From its making on, none of them ends the process by itself.
#[derive(Debug)]
pub struct StopRequests(sys::stop::Listener);

impl StopRequests {
    /// Starts to listen. Call it once, in a tokio runtime, before anything that has to be cleaned up is begun.
    pub fn listen() -> io::Result<Self> {
        Ok(StopRequests(sys::stop::Listener::new()?))
    }

    /// Waits for the next request. Safe to cancel; a request that came before is not lost. Later ones let an impatient
    /// caller cut a graceful stop short.
    pub async fn next(&mut self) -> StopReason {
        self.0.next().await
    }
}

/// Asks the process to stop in the way that its [`StopRequests`] hears. A process that is gone is success.
pub fn ask(process: &Process) -> Result<(), crate::identity::Error> {
    sys::stop::ask(process)
}
