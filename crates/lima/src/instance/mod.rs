//! Instance folders: prepared, changed, listed, deleted.

mod delete;
mod disk;
mod error;
mod folder;
mod logs;
mod prepare;
mod stale;

pub use delete::{delete, delete_remains, has_remains};
pub use error::InstanceError;
pub use folder::{BootHints, Instance, check_change, list, load, update_template};
pub use logs::keep_logs;
pub use prepare::prepare;
pub use stale::remove_stale;
