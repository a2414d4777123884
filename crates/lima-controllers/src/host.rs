//! This machine and its user, from which templates get their defaults.

use std::path::Path;

use lima::layout::LimaHome;
use lima::template::{Host, HostUser};

/// Describes this machine. The home folder of a user without a passwd entry is the folder that contains `lima_home`
/// (`~/.rdN/lima`).
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
