//! What a QEMU machine is made of: everything that QEMU's command line depends on besides this host.

use std::path::PathBuf;

use lima::image::{DiskFormat, RootBus};
use lima::template::Arch;

use crate::accelerator::Accelerator;

/// A disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// Its format. QEMU is always given the format: otherwise a guest could write a qcow2 header into its raw disk and
    /// name any file of the host as backing file.
    pub format: DiskFormat,
}

/// How the machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The firmware finds a boot loader on the disk.
    Disk,
    /// QEMU loads a kernel itself.
    Kernel {
        /// bzImage, or an ELF with a PVH entry.
        kernel: PathBuf,
        /// The initial RAM disk, if the kernel needs one.
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        cmdline: String,
    },
}

/// The firmware of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS on a PC, none elsewhere.
    Default,
    /// A firmware image in one file, for `-bios`: a path, or the name of one of QEMU's own (`qboot`).
    Bios(PathBuf),
    /// UEFI code in read-only flash.
    Uefi(PathBuf),
}

/// How the guest agent's channel appears in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentPort {
    /// `/dev/virtio-ports/` + [`AGENT_PORT_NAME`].
    VirtioSerial,
    /// The second serial line, `ttyS1`, which needs no module in the guest.
    Serial,
}

/// The name of the guest agent's virtio-serial port; Lima's, and `guestagent::protocol`'s.
pub const AGENT_PORT_NAME: &str = "io.lima-vm.guest_agent.0";

/// One machine, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// Shown by QEMU and in process lists.
    pub name: String,
    /// The guest's processor family.
    pub arch: Arch,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The CPU model, when the template names one.
    pub cpu: Option<String>,
    /// The accelerator that the template insists on.
    pub accelerator: Option<Accelerator>,
    /// How it boots.
    pub boot: Boot,
    /// Its firmware.
    pub firmware: Firmware,
    /// How `disks` and `cidata` are attached.
    pub disk_bus: RootBus,
    /// The root disk first.
    pub disks: Vec<Disk>,
    /// The NoCloud disk with the user, the keys and the settings.
    pub cidata: Option<PathBuf>,
    /// How the guest agent's channel appears in the guest.
    pub agent_port: AgentPort,
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    pub ssh_local_port: u16,
}
