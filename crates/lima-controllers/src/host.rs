//! This machine and its user, who give templates their defaults.

use std::path::Path;

use lima::layout::LimaHome;
use lima::template::{Host, HostUser};

/// Describes this machine. The user's folder is taken to be the one that `lima_home` is in (`~/.rdN/lima`) when the
/// system does not say: for a user in no passwd file.
pub(crate) fn detect(lima_home: &LimaHome) -> Result<Host, String> {
    let folder = lima_home.root.ancestors().nth(2).unwrap_or(&lima_home.root);
    Host::detect(user(folder)).map_err(|error| error.to_string())
}

#[cfg(unix)]
fn user(folder: &Path) -> HostUser {
    HostUser::current(folder)
}

#[cfg(not(unix))]
fn user(folder: &Path) -> HostUser {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    HostUser {
        name,
        uid: None,
        comment: String::new(),
        home: folder.to_owned(),
    }
}
