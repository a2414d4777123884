//! Requests to stop a process that do not need its control socket: SIGTERM, SIGINT and SIGHUP on Unix, a named event on
//! Windows (where no signal reaches a process of another console, hazard 12).

use std::io;

use crate::held::Process;
use crate::sys;

/// How a stop was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM, or the named event: a service manager, `kill`, another program.
    Requested,
    /// SIGINT or Ctrl-C: the user at the terminal.
    Interrupted,
    /// SIGHUP, or the closed console.
    TerminalClosed,
}

/// Listens for requests to stop. Once it is made, such a request no longer ends the process by itself.
#[derive(Debug)]
pub struct StopRequests(sys::stop::Listener);

impl StopRequests {
    /// Starts to listen. Call it once, in a tokio runtime, before starting anything that has to be cleaned up.
    pub fn listen() -> io::Result<Self> {
        Ok(StopRequests(sys::stop::Listener::new()?))
    }

    /// Waits for the next request. Safe to cancel; a request that came before the call is not lost. A further request lets
    /// the caller cut a graceful stop short.
    pub async fn next(&mut self) -> StopReason {
        self.0.next().await
    }
}

/// Asks the process to stop in the way that its [`StopRequests`] receives; success if the process is gone.
pub fn ask(process: &Process) -> Result<(), crate::identity::Error> {
    sys::stop::ask(process)
}
