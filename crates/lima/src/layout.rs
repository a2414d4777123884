//! The paths of the files in a Lima home.
//!
//! The file names are Lima's (`pkg/limatype/filenames`), except `ha.lock` and `image.json`, which are rdd's.

use std::path::{Path, PathBuf};

/// Socket paths must be shorter than this many bytes: `sun_path` has 104 on macOS and the BSDs (108 on Linux), and a home
/// folder may be shared between systems.
pub const SOCKET_PATH_LIMIT: usize = 104;

/// The longest instance name that Lima accepts (`containerd/pkg/identifiers`).
pub const NAME_LIMIT: usize = 76;

/// A host name is one label of a domain name (RFC 1123).
const HOSTNAME_LIMIT: usize = 63;

/// ssh makes its control socket under a temporary name, which is longer by `.` and 16 random characters (OpenSSH mux.c).
const SSH_SOCKET_SUFFIX: &str = ".1234567890123456";

/// The Lima version whose instance layout this is. It goes to `lima-version`, for Lima's own tools.
pub const LIMA_VERSION: &str = "2.0.0";

/// The newest Lima whose template format is known here.
pub const LIMA_FORMAT: &str = "2.2.0";

/// A name is not valid for an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("the VM's name is empty; give one such as \"web\"")]
    Empty,
    /// The name is longer than [`NAME_LIMIT`].
    #[error("VM name {name:?} has {length} characters; {NAME_LIMIT} is the limit")]
    TooLong {
        /// The name as given.
        name: String,
        /// The length in bytes.
        length: usize,
    },
    /// A character or its position is not allowed.
    #[error(
        "VM name {name:?} is not valid: use letters and digits, with single \".\", \"_\" or \"-\" between them"
    )]
    Invalid {
        /// The name as given.
        name: String,
    },
    /// Lima would read the name as the file name of a template.
    #[error(
        "VM name {name:?} must not end with .yaml or .yml, which Lima reads as a template's file name"
    )]
    Yaml {
        /// The name as given.
        name: String,
    },
}

/// Checks a name against Lima's rule: `^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$`, at most 76 characters, and no
/// `.yaml` at the end.
///
/// # Errors
/// [`NameError`] with the rule that the name breaks.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_LIMIT {
        return Err(NameError::TooLong {
            name: name.to_owned(),
            length: name.len(),
        });
    }
    let parts_ok = name
        .split(['.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !parts_ok {
        return Err(NameError::Invalid {
            name: name.to_owned(),
        });
    }
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        return Err(NameError::Yaml {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// A socket path that is too long for the OS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "socket path {path:?} has {length} bytes; the limit is {}, and the VM's folder leaves room for a name of at \
     most {room} bytes: use a shorter name, or a shorter home folder",
    SOCKET_PATH_LIMIT - 1
)]
pub struct SocketPathTooLong {
    /// The longest socket path of the instance.
    pub path: PathBuf,
    /// The length in bytes.
    pub length: usize,
    /// The longest instance name that fits into this Lima home; 0 if none does.
    pub room: usize,
}

/// Lima's home folder: one folder for each instance, and `_config` with the ssh keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimaHome {
    /// The folder.
    pub root: PathBuf,
}

impl LimaHome {
    /// Returns the Lima home at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns `_config`, with the keys and settings that all instances share.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.root.join("_config")
    }

    /// Returns `_locks`, with a lock file for each instance that is being prepared or deleted. Lima reserves names that begin
    /// with `_`, so no instance has this name.
    #[must_use]
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join("_locks")
    }

    /// Returns the folder of one instance.
    ///
    /// # Errors
    /// The name is not valid, see [`validate_name`].
    pub fn instance(&self, name: &str) -> Result<InstanceDir, NameError> {
        validate_name(name)?;
        Ok(InstanceDir {
            path: self.root.join(name),
            name: name.to_owned(),
        })
    }

    /// Checks that the OS accepts the path of every socket of instance `name`.
    ///
    /// # Errors
    /// [`SocketPathTooLong`] with the path, its length and the remedy.
    pub fn check_socket_paths(&self, name: &str) -> Result<(), SocketPathTooLong> {
        let dir = InstanceDir {
            path: self.root.join(name),
            name: name.to_owned(),
        };
        let Some(longest) = dir
            .socket_paths()
            .into_iter()
            .max_by_key(|path| path.as_os_str().len())
        else {
            return Ok(());
        };
        let length = longest.as_os_str().len();
        if length < SOCKET_PATH_LIMIT {
            return Ok(());
        }
        let without_name = length - name.len();
        Err(SocketPathTooLong {
            path: longest,
            length,
            room: (SOCKET_PATH_LIMIT - 1).saturating_sub(without_name),
        })
    }
}

/// The folder of one instance, with the paths of its files. Reads and writes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDir {
    path: PathBuf,
    name: String,
}

macro_rules! files {
    ($($(#[$doc:meta])* $method:ident => $file:expr;)*) => {
        impl InstanceDir {
            $($(#[$doc])* #[must_use] pub fn $method(&self) -> PathBuf { self.path.join($file) })*
        }
    };
}

files! {
    /// The template with defaults filled in and parameters expanded.
    lima_yaml => "lima.yaml";
    /// The Lima version whose layout this is.
    lima_version => "lima-version";
    /// The NoCloud disk.
    cidata_iso => "cidata.iso";
    /// The image, which is never written to.
    base_disk => "basedisk";
    /// The instance's own disk: a qcow2 overlay on `basedisk`.
    diff_disk => "diffdisk";
    /// A kernel to boot directly, if the image has one.
    kernel => "kernel";
    /// The command line of `kernel`.
    kernel_cmdline => "kernel.cmdline";
    /// The initial RAM disk of `kernel`.
    initrd => "initrd";
    /// What the driver needs to know about the image ([`crate::instance::BootHints`]).
    image_json => "image.json";
    /// QEMU's monitor.
    qmp_sock => "qmp.sock";
    /// The guest agent's virtio-serial port.
    ga_sock => "ga.sock";
    /// The output of the guest's first serial line.
    serial_log => "serial.log";
    /// The guest's first serial line.
    serial_sock => "serial.sock";
    /// The output of the guest's virtio console.
    serialv_log => "serialv.log";
    /// The control socket of ssh's connection sharing.
    ssh_sock => "ssh.sock";
    /// Settings for `ssh -F`.
    ssh_config => "ssh.config";
    /// QEMU's PID, for users only.
    qemu_pid => "qemu.pid";
    /// The hostagent's PID, for users only.
    ha_pid => "ha.pid";
    /// The hostagent's control socket.
    ha_sock => "ha.sock";
    /// The lock that the hostagent holds for its whole life. A process that can take it knows that no hostagent is alive.
    ha_lock => "ha.lock";
    /// The hostagent's events, a JSON object a line.
    ha_stdout_log => "ha.stdout.log";
    /// The hostagent's log.
    ha_stderr_log => "ha.stderr.log";
    /// UEFI variables and code, if the driver uses UEFI.
    qemu_efi_code => "qemu-efi-code.fd";
    /// Present if the user has protected the instance from deletion (`limactl protect`).
    protected => "protected";
}

impl InstanceDir {
    /// Returns an instance folder at any path, such as a temporary one.
    pub fn at(path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
        }
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the instance's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the guest's host name: `lima-NAME`, with the characters that a host name cannot have replaced, cut at the
    /// length limit of host names.
    #[must_use]
    pub fn hostname(&self) -> String {
        let mut name = format!("lima-{}", self.name.replace(['.', '_'], "-"));
        name.truncate(HOSTNAME_LIMIT);
        name.trim_end_matches('-').to_owned()
    }

    /// Returns the paths of all sockets in this folder, each at its longest.
    #[must_use]
    pub fn socket_paths(&self) -> Vec<PathBuf> {
        let mut ssh = self.ssh_sock().into_os_string();
        ssh.push(SSH_SOCKET_SUFFIX);
        vec![
            self.qmp_sock(),
            self.ga_sock(),
            self.serial_sock(),
            self.ha_sock(),
            PathBuf::from(ssh),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_limas_rule() {
        for good in [
            "a",
            "default",
            "0",
            "Debian-12",
            "a.b_c-d",
            "x".repeat(NAME_LIMIT).as_str(),
        ] {
            assert_eq!(validate_name(good), Ok(()), "{good}");
        }
        let bad = [
            "a/b", "../x", ".", "-a", "a-", "a--b", "a b", "ä", "_config", ".tmp", "a\nb", "a\0",
            "*", "a.-b",
        ];
        for name in bad {
            assert!(
                matches!(validate_name(name), Err(NameError::Invalid { .. })),
                "{name:?}"
            );
        }
        assert_eq!(validate_name(""), Err(NameError::Empty));
        assert!(matches!(
            validate_name(&"x".repeat(NAME_LIMIT + 1)),
            Err(NameError::TooLong { length: 77, .. })
        ));
        assert!(matches!(
            validate_name("vm.yaml"),
            Err(NameError::Yaml { .. })
        ));
        assert!(matches!(
            validate_name("vm.YML"),
            Err(NameError::Yaml { .. })
        ));
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_an_error_with_path_length_and_remedy() {
        // "/" + 60 + "/" + name + "/ssh.sock" + 17: the name has 103 - 88 = 15 bytes.
        let home = LimaHome::new(format!("/{}", "h".repeat(60)));
        home.check_socket_paths(&"n".repeat(15)).unwrap();
        let error = home.check_socket_paths(&"n".repeat(16)).unwrap_err();
        assert_eq!((error.length, error.room), (104, 15));
        let message = error.to_string();
        for part in [
            "ssh.sock.1234567890123456",
            "has 104 bytes",
            "the limit is 103",
            "at most 15 bytes",
            "shorter",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        let hopeless = LimaHome::new(format!("/{}", "h".repeat(200)));
        assert_eq!(hopeless.check_socket_paths("n").unwrap_err().room, 0);
    }

    #[test]
    fn files_have_limas_names() {
        let dir = LimaHome::new("/l").instance("my.vm_1").unwrap();
        assert_eq!(dir.path(), Path::new("/l/my.vm_1"));
        assert_eq!(dir.lima_yaml(), Path::new("/l/my.vm_1/lima.yaml"));
        assert_eq!(dir.diff_disk(), Path::new("/l/my.vm_1/diffdisk"));
        assert_eq!(dir.hostname(), "lima-my-vm-1");
        assert!(LimaHome::new("/l").instance("a/b").is_err());
    }
}
