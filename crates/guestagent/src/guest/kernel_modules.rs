//! Loads the kernel modules that are needed before udev runs.

use std::fs::File;
use std::path::Path;

use guestagent::modules::load_order;

use super::{files, kernel_log};

/// Loads `wanted` and their dependencies. Modules that are built in or loaded already are no error.
pub(crate) fn load(wanted: &[&str]) {
    let release = files::text("/proc/sys/kernel/osrelease");
    let folder = Path::new("/lib/modules").join(release.trim());
    let modules_dep = files::text(folder.join("modules.dep"));
    for file in load_order(&modules_dep, wanted) {
        let result = File::open(folder.join(file)).and_then(|module| {
            rustix::system::finit_module(&module, c"", 0).map_err(std::io::Error::from)
        });
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                kernel_log::warning(&format!("cannot load the kernel module {file}: {error}"));
            }
            _ => {}
        }
    }
}
