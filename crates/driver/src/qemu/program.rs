//! Where QEMU is on this host, and what to install when it is not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lima::template::Arch;

use crate::error::DriverError;

/// Finds `qemu-system-ARCH` in `search_path`, the value of `PATH`. Relative entries are ignored: what runs must not depend
/// on the working directory.
///
/// # Errors
/// It is not installed; the message names the package.
pub(super) fn find(arch: Arch, search_path: &OsStr) -> Result<PathBuf, DriverError> {
    let program = format!("qemu-system-{arch}");
    let absolute = std::env::split_paths(search_path).filter(|folder| folder.is_absolute());
    std::env::join_paths(absolute)
        .ok()
        .and_then(|folders| which::which_in_global(&program, Some(folders)).ok()?.next())
        .ok_or_else(|| DriverError::ProgramMissing {
            program,
            search_path: search_path.to_string_lossy().into_owned(),
            package: package(arch).into(),
        })
}

fn package(arch: Arch) -> &'static str {
    match (std::env::consts::OS, arch) {
        ("linux", Arch::X86_64) => {
            "QEMU (Debian, Ubuntu: qemu-system-x86 and qemu-utils; Fedora: qemu-system-x86-core and qemu-img)"
        }
        ("linux", _) => {
            "QEMU (Debian, Ubuntu: qemu-system-arm and qemu-utils; Fedora: qemu-system-aarch64-core and qemu-img)"
        }
        ("macos", _) => "QEMU (brew install qemu)",
        ("windows", _) => "QEMU (winget install SoftwareFreedomConservancy.QEMU)",
        _ => "QEMU",
    }
}

/// Finds a firmware file by its name among those that come with `program`: beside the program on Windows, in `share/qemu`
/// of its prefix elsewhere, and where Debian puts SeaBIOS. `None` if the host does not have it.
pub(super) fn find_firmware(program: &Path, name: &Path) -> Option<PathBuf> {
    if name.is_absolute() {
        return name.is_file().then(|| name.to_owned());
    }
    let real = std::fs::canonicalize(program).ok()?;
    let folder = real.parent()?;
    let prefix = folder.parent()?;
    let folders = [
        prefix.join("share/qemu"),
        prefix.join("share/seabios"),
        folder.join("share"),
        folder.to_owned(),
    ];
    // `image.json` says `qboot` or `qboot.rom`; the file's name has the suffix.
    let names = [
        name.to_owned(),
        name.with_extension("rom"),
        name.with_extension("bin"),
    ];
    folders
        .iter()
        .flat_map(|f| names.iter().map(move |n| f.join(n)))
        .find(|candidate| candidate.is_file())
}
