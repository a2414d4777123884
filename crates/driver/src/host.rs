//! What the drivers know about this host.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the drivers know about this host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Where programs are looked for: the value of `PATH`.
    pub search_path: OsString,
    /// Where answers that hold for all VMs of the user are kept, such as the accelerator's. Made when missing.
    pub cache_dir: PathBuf,
}
