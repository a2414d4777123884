//! `lima.yaml`: reading it, checking it, filling in what it does not say.

mod de;
mod defaults;
mod host;
mod params;
mod parse;
mod size;
mod tree;
mod types;
mod unsupported;
mod validate;
mod write;

pub use host::{Host, HostError, HostUser};
pub use parse::{FieldError, ParseError, Parsed};
pub use size::{ByteSize, SizeError};
pub use types::*;
pub use unsupported::Warning;
pub use validate::ValidateError;
pub use write::WriteError;

/// Leaves empty fields out of what is written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
