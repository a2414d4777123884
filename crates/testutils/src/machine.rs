//! Where the machine keeps what tests use: the target folder, the test cache and the installed tools.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where tests keep what is expensive to make, above all the guest image: `RDD_TEST_CACHE`, else `test-cache` in the
/// target folder. It is every instance's `XDG_CACHE_HOME`, so one test program builds the image for all.
#[must_use]
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("RDD_TEST_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => target_dir().join("test-cache"),
    }
}

/// Where `scripts/install-packages` and `scripts/install-agents` put the programs that Debian does not package.
#[must_use]
pub fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// `PATH` with the installed tools before everything else.
///
/// # Panics
/// The target folder has a colon in its name.
#[must_use]
pub fn path_with_tools() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools_dir().join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("a target folder that can be in PATH")
}

/// Where test programs that run side by side hold locks. One folder for each user, because another user's lock files
/// cannot be opened.
pub(crate) fn lock_dir() -> PathBuf {
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    // The temporary folder is the user's own there.
    #[cfg(windows)]
    let user = 0;
    std::env::temp_dir().join(format!("rdd-test-locks-{user}"))
}

/// Cargo's target folder, which this test program is in.
fn target_dir() -> PathBuf {
    // Cargo marks its target folder with this file, wherever it is.
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
            Path::to_owned,
        )
}
