//! How the rest of the system deals with hostagents: start one, look at one, ask one to stop, prove that one is gone.
//!
//! Every call is bounded and none of them needs the hostagent to be well. Liveness is the lock on `ha.lock`, never a
//! number in a file.

mod connection;
mod gone;
mod observe;
mod spawn;

pub use connection::{Client, ClientError, Events, REQUEST_DEADLINE};
pub use gone::{GoneError, kill, prove_gone, wait_gone};
pub use observe::{AgentState, Observation, observe};
pub use spawn::{SpawnError, SpawnOptions, spawn};
