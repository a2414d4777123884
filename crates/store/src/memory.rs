//! A log that keeps nothing, for unit tests: the index has everything.

use crate::Revision;
use crate::log::{Commit, Failure, Log};

#[derive(Debug)]
pub(crate) struct MemoryLog;

impl Log for MemoryLog {
    fn place(&self) -> &str {
        "memory"
    }

    fn commit(&mut self, _commit: &Commit) -> Result<(), Failure> {
        Ok(())
    }

    fn forget(&mut self, _to: Revision) -> Result<bool, Failure> {
        Ok(true)
    }

    fn tidy(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
