//! The ssh key pair of a Lima home: `_config/user` and `_config/user.pub`.
//!
//! Hazards 36–38: a lost private key locks its owner out of every VM. So a file that parses stays, one that does not parse is
//! moved aside and never deleted, and from any state one call ends with a valid pair or with a message that names the file
//! and the remedy. This process generates the keys, because ssh-keygen could ask questions.
//!
//! ```text
//! private key    then                          public key     then
//! ───────────    ────                          ──────────     ────
//! valid          keep, mode 0600               right          keep
//! absent         use the complete key of an    absent         write it, from the private key
//!                interrupted write,            anything else  move aside, write it
//!                or else generate one
//! does not parse move aside, as for absent
//! encrypted, another format, unreadable: error, nothing is changed
//! ```
//!
//! An encrypted key is not moved aside: its owner put it there, every VM accepts it, and the command in the message makes it
//! usable.

mod aside;
mod dot_ssh;
mod ensure;
mod error;
mod pair;
mod read;

pub use dot_ssh::public_keys_of;
pub use ensure::{KeyPair, ensure};
pub use error::KeyError;
