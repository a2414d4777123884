//! `lima.yaml`: parsing, merging base templates, validation, defaults.
//!
//! ```text
//! text ─ embed (base templates, script files) ─ parse ─ fill_defaults ─ expand (parameters) ─ validate
//! ```

mod de;
mod defaults;
mod embed;
mod expand;
#[cfg(test)]
mod field_table;
mod go_template;
mod host;
mod parse;
mod size;
mod tree;
pub(crate) mod types;
mod unsupported;
mod validate;
pub(crate) mod version;
mod write;

pub use embed::{EmbedError, Loader, LocalFiles, embed};
pub use host::{Host, HostError, HostUser};
pub use parse::{FieldError, ParseError, Parsed};
pub use size::{ByteSize, SizeError};
pub use types::*;
pub use unsupported::Warning;
pub use validate::ValidateError;
pub use write::WriteError;
