//! Requests to stop, as signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::held::Process;
use crate::stop::StopReason;

#[derive(Debug)]
pub(crate) struct Listener {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Listener {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Listener {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> StopReason {
        tokio::select! {
            _ = self.terminate.recv() => StopReason::Requested,
            _ = self.interrupt.recv() => StopReason::Interrupted,
            _ = self.hangup.recv() => StopReason::TerminalClosed,
        }
    }
}

pub(crate) fn ask(process: &Process) -> Result<(), crate::identity::Error> {
    process.signal(crate::held::Signal::Terminate)
}
