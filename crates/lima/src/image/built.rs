//! `image.json`: the description of an image built on this machine.

use serde::{Deserialize, Serialize};

use crate::template::types::Arch;

/// The bus of the guest's root disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootBus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// NVMe. Its driver is built into the kernel, so no initrd is needed.
    Nvme,
}

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU's format, version 2 or 3.
    Qcow2,
    /// The bytes of the disk.
    Raw,
}

impl DiskFormat {
    /// Returns QEMU's name of the format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// The content of `image.json` in a folder made by `rdd image build NAME`. File names are relative to that folder and
/// hold no separator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltImage {
    /// The name, for `image://NAME` in templates.
    pub name: String,
    /// The guest's architecture.
    pub arch: Arch,
    /// The time of the build (RFC 3339).
    pub created: String,
    /// The disk.
    pub disk: BuiltDisk,
    /// The kernel to boot directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<BuiltKernel>,
    /// The initial RAM disk of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<BuiltFile>,
    /// QEMU's firmware file to boot the kernel with, such as `qboot.rom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The bus of the root disk.
    #[serde(default)]
    pub root_bus: RootBus,
    /// The size of all files together, in bytes.
    #[serde(default)]
    pub size: u64,
    /// A description for users, such as `debian 12 minbase, linux 6.1.0-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A digest of recipe, agent and settings, computed by the builder; absent in older images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The disk of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltDisk {
    /// The name of the file.
    pub file: String,
    /// The format of the file.
    pub format: DiskFormat,
    /// The size that the guest sees, in bytes.
    pub virtual_size: u64,
    /// The file's SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

/// The kernel of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltKernel {
    /// The name of the file.
    pub file: String,
    /// The command line.
    pub cmdline: String,
}

/// Another file of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltFile {
    /// The name of the file.
    pub file: String,
}
