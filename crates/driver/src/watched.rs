//! A process whose end is awaited, whether or not this process started it.

use std::process::ExitStatus;

use process::spawn::Child;
use process::{Identity, Process};

/// A child has an exit status; of an adopted process only its end is known.
#[derive(Debug)]
pub(crate) enum Watched {
    Child(Child),
    Adopted(Process),
}

impl Watched {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Watched::Child(child) => child.identity(),
            Watched::Adopted(process) => process.identity(),
        }
    }

    /// Waits for the end. Safe to cancel.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Watched::Child(child) => child.ended().await.ok().flatten(),
            Watched::Adopted(process) => {
                // A failed wait does not prove that the process has ended.
                if process.ended().await.is_err() {
                    std::future::pending::<()>().await;
                }
                None
            }
        }
    }
}
