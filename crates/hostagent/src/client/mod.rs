//! How the rest of the system uses hostagents: start one, observe one, ask one to stop, prove that one is gone.
//!
//! Every call is bounded, and none depends on a healthy hostagent. A hostagent is alive as long as `ha.lock` is locked; a
//! number in a file proves nothing.

mod connection;
mod gone;
mod observe;
mod spawn;

pub use connection::{Client, ClientError, Events, REQUEST_DEADLINE};
pub use gone::{GoneError, kill, prove_gone, wait_gone};
pub use observe::{AgentState, Observation, observe};
pub use spawn::{SpawnError, SpawnOptions, spawn};
