//! One distribution, and the program that controls it.

use std::path::PathBuf;
use std::time::Duration;

use lima::layout::InstanceDir;

/// One distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distro {
    /// The name that the distribution is registered under, unique for the user; WSL ignores the case of names.
    pub name: String,
    /// The folder that holds its disk, and no other files.
    pub folder: PathBuf,
    /// The archive with its root file system, from which it is imported.
    pub image: PathBuf,
}

impl Distro {
    /// The distribution of the instance in `dir`. Its name contains a hash of the path, because WSL has one list of names
    /// for all of the user's programs and for all instances of rdd.
    pub fn of(dir: &InstanceDir) -> Distro {
        Distro {
            name: format!(
                "rdd-{}-{:08x}",
                dir.name(),
                fnv1a(dir.path().as_os_str().as_encoded_bytes())
            ),
            folder: dir.path().join("wsl"),
            image: dir.base_disk(),
        }
    }
}

/// The 32-bit FNV-1a hash (RFC 9923).
fn fnv1a(bytes: &[u8]) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(PRIME)
    })
}

/// How long each command of `wsl.exe` may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Printing a list.
    pub list: Duration,
    /// Unpacking the image onto a new disk.
    pub import: Duration,
    /// From the start to the end of the first command in the distribution; this also boots WSL's utility VM.
    pub boot: Duration,
    /// Terminating the distribution.
    pub terminate: Duration,
    /// Unregistering the distribution, with its disk.
    pub unregister: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Tenths of a second; the service may have to be started first.
            list: Duration::from_secs(10),
            // A gigabyte through a virus scanner.
            import: Duration::from_secs(600),
            boot: Duration::from_secs(60),
            // WSL kills the distribution without asking it, which takes a second.
            terminate: Duration::from_secs(20),
            unregister: Duration::from_secs(60),
        }
    }
}

/// `wsl.exe`, and how long its commands may take.
#[derive(Debug, Clone)]
pub struct Wsl {
    pub(super) program: PathBuf,
    pub(super) limits: Limits,
}

impl Wsl {
    /// `program`: the path of `wsl.exe`.
    pub fn new(program: impl Into<PathBuf>, limits: Limits) -> Wsl {
        Wsl {
            program: program.into(),
            limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vms_of_one_name_in_two_instances_are_two_distributions() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
        let name = |home: &str| Distro::of(&InstanceDir::at(home, "web")).name;
        assert!(name("/a/web").starts_with("rdd-web-"));
        assert_ne!(name("/a/web"), name("/b/web"));
    }
}
