//! Counts the steps of a validation, so that no schema and object together keep a thread busy without end.

use crate::{compute::Token, status::ApiError};

/// Steps that a validation may take on the async workers. 20,000 steps take about a millisecond, so requests of
/// ordinary size never pay for the hand-over to another thread, and no request delays others noticeably.
const INLINE_STEPS: u64 = 20_000;
/// Steps that a validation may take on the compute pool: about two seconds. An object of 1.5 MiB has at most 800,000
/// values, so a schema may visit each of them 25 times.
const POOL_STEPS: u64 = 20_000_000;
/// How many steps pass between two looks at the clock and the cancellation.
const CHECK_INTERVAL: u64 = 4096;

/// The validation has used up its steps, its time is over, or the client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// The refusal of an object that needs more than [`POOL_STEPS`].
pub(crate) fn too_many_steps() -> ApiError {
    let message = format!(
        "Request entity too large: validating the object by its schema needs more than {POOL_STEPS} steps"
    );
    ApiError::new(413, "RequestEntityTooLarge", message)
}

/// The steps that are left.
pub(crate) struct Effort<'a> {
    left: u64,
    until_check: u64,
    token: Option<&'a Token>,
}

impl<'a> Effort<'a> {
    /// For a validation on an async worker.
    pub(crate) fn inline() -> Self {
        Self {
            left: INLINE_STEPS,
            until_check: CHECK_INTERVAL,
            token: None,
        }
    }

    /// For a validation on the compute pool.
    pub(crate) fn pool(token: &'a Token) -> Self {
        Self {
            left: POOL_STEPS,
            until_check: CHECK_INTERVAL,
            token: Some(token),
        }
    }

    /// Whether CEL rules may be evaluated: they need the stack and the cancellation of the compute pool.
    pub(super) fn token(&self) -> Option<&'a Token> {
        self.token
    }

    /// Takes steps away.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        let steps = steps as u64;
        self.left = self.left.checked_sub(steps).ok_or(Exhausted)?;
        match self.until_check.checked_sub(steps) {
            Some(left) => self.until_check = left,
            None => {
                self.until_check = CHECK_INTERVAL;
                if self.token.is_some_and(Token::is_stopped) {
                    return Err(Exhausted);
                }
            }
        }
        Ok(())
    }
}
