//! The fields that describe the machine: its images, disks, cards and driver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arch, VmType};

fields! {
    /// A template, script or file somewhere, with its digest.
    Locator {
        /// Where it is.
        url: String,
        /// Its digest.
        digest: Option<String>,
    }

    /// Settings of single drivers.
    VmOpts {
        /// QEMU's.
        qemu: QemuOpts,
        /// Virtualization.framework's.
        vz: VzOpts,
        /// WSL2's.
        wsl2: BTreeMap<String, serde_json::Value>,
        /// krunkit's.
        krunkit: BTreeMap<String, serde_json::Value>,
    }

    /// Settings of the QEMU driver.
    QemuOpts {
        /// The oldest QEMU that can run this.
        minimum_version: Option<String>,
        /// CPU models by architecture.
        cpu_type: BTreeMap<String, String>,
    }

    /// Settings of the Virtualization.framework driver.
    VzOpts {
        /// Rosetta.
        rosetta: Rosetta,
        /// Format of the disk image.
        disk_image_format: Option<String>,
    }

    /// Rosetta.
    Rosetta {
        /// Whether the guest gets it.
        enabled: Option<bool>,
        /// Whether it is registered for x86 programs.
        #[serde(rename = "binfmt")]
        bin_fmt: Option<bool>,
    }

    /// A disk image, with a kernel for an image that firmware does not boot.
    Image {
        /// An http(s) URL, a file, or `image://NAME` for one made by `rdd image build`.
        location: String,
        /// Its architecture; the template's by default.
        arch: Option<Arch>,
        /// `sha256:…` or `sha512:…`.
        digest: Option<String>,
        /// A kernel to boot directly.
        kernel: Option<Kernel>,
        /// The RAM disk of `kernel`.
        initrd: Option<File>,
        /// What kind of image it is, such as `genericcloud`. Images of other kinds than the first one's are no fallback.
        variant: Option<String>,
        /// The level of the architecture that the image needs, such as `v3`.
        arch_variant: Option<String>,
    }

    /// A kernel.
    Kernel {
        /// Where the file is.
        location: String,
        /// Its architecture.
        arch: Option<Arch>,
        /// `sha256:…` or `sha512:…`.
        digest: Option<String>,
        /// The kernel's command line.
        cmdline: Option<String>,
    }

    /// A file.
    File {
        /// Where the file is.
        location: String,
        /// Its architecture.
        arch: Option<Arch>,
        /// `sha256:…` or `sha512:…`.
        digest: Option<String>,
        /// The driver it is for.
        vm_type: Option<VmType>,
    }

    /// A disk of `limactl disk`.
    Disk {
        /// Its name.
        name: String,
        /// Whether it gets a file system at the first start.
        format: Option<bool>,
        /// The file system.
        fs_type: Option<String>,
        /// Arguments of mkfs.
        fs_args: Vec<String>,
    }

    /// Firmware.
    Firmware {
        /// BIOS instead of UEFI.
        #[serde(rename = "legacyBIOS")]
        legacy_bios: Option<bool>,
        /// UEFI images.
        images: Vec<File>,
    }

    /// The sound card.
    Audio {
        /// QEMU's audiodev.
        device: Option<String>,
        /// The sound card that the guest sees.
        interface: Option<String>,
    }

    /// The display.
    Video {
        /// QEMU's display.
        display: Option<String>,
        /// VNC.
        vnc: Vnc,
    }

    /// VNC.
    Vnc {
        /// QEMU's VNC display.
        display: Option<String>,
    }

    /// A network interface.
    Network {
        /// A network of `networks.yaml`.
        lima: Option<String>,
        /// A QEMU socket.
        socket: Option<String>,
        /// NAT of Virtualization.framework.
        #[serde(rename = "vzNAT")]
        vz_nat: Option<bool>,
        /// The MAC address of the card.
        mac_address: Option<String>,
        /// The name of the interface in the guest.
        interface: Option<String>,
        /// The metric of its routes.
        metric: Option<u32>,
    }
}
