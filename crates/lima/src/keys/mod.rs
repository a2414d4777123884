//! The ssh key pair of a Lima home: `_config/user` and `_config/user.pub`.
//!
//! Hazards 36–38: a lost private key locks its owner out of every VM there is. So what still parses stays, what does
//! not parse is moved aside and never deleted, and whatever state is found, one call ends with a valid pair or with a
//! message that names the file and the remedy. Keys are made in this process: there is no ssh-keygen that could ask.
//!
//! ```text
//! private key    then                          public key     then
//! ───────────    ────                          ──────────     ────
//! valid          keep, mode 0600               right          keep
//! absent         take a valid left-over        absent         write it, from the private key
//!                of an interrupted write,      anything else  move aside, write it
//!                else make one
//! does not parse move aside, as for absent
//! encrypted, another format, not ours to read: say so, touch nothing
//! ```
//!
//! An encrypted key is not moved aside: its owner put it there, every VM trusts it, and it can be made usable with
//! one command, which the message says.

mod aside;
mod ensure;
mod error;
mod pair;
mod read;

pub use ensure::{KeyPair, ensure};
pub use error::KeyError;
