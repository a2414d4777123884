//! What a VM is made of, in values: everything a driver needs to start it, read from no other place.

use std::path::PathBuf;

use lima::image::{DiskFormat, RootBus};
use lima::layout::InstanceDir;
use lima::template::Arch;

/// A disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// Its format. It is always said to QEMU: a guest could otherwise write a qcow2 header into its raw disk and name
    /// any file of the host as backing file.
    pub format: DiskFormat,
}

/// What the machine starts with.
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
    /// A firmware image in one file, for `-bios`: a path, or a name that is looked for among QEMU's own (`qboot`).
    Bios(PathBuf),
    /// UEFI in flash: code, read only.
    Uefi(PathBuf),
}

/// How the guest agent's channel appears in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentPort {
    /// `/dev/virtio-ports/` + [`AGENT_PORT_NAME`].
    VirtioSerial,
    /// The second serial line, `ttyS1`: needs no module in the guest.
    Serial,
}

/// The name of the guest agent's virtio-serial port; Lima's, and `guestagent::protocol`'s.
pub const AGENT_PORT_NAME: &str = "io.lima-vm.guest_agent.0";

/// One VM, ready to be started.
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
    pub accelerator: Option<crate::Accelerator>,
    /// What it starts with.
    pub boot: Boot,
    /// Its firmware.
    pub firmware: Firmware,
    /// How `disks` and `cidata` are attached.
    pub disk_bus: RootBus,
    /// The root disk first.
    pub disks: Vec<Disk>,
    /// The NoCloud disk with the user, the keys and the settings.
    pub cidata: Option<PathBuf>,
    /// How the guest agent is reached from inside.
    pub agent_port: AgentPort,
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    pub ssh_local_port: u16,
}

/// The files of a running VM that its driver makes, all in the instance folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFiles {
    /// QEMU's control socket.
    pub qmp_socket: PathBuf,
    /// The host's end of the guest agent's channel.
    pub agent_socket: PathBuf,
    /// What the guest wrote to its first serial line.
    pub serial_log: PathBuf,
    /// What QEMU wrote to its standard error.
    pub stderr_log: PathBuf,
    /// How the VM was started: see [`crate::MachineRecord`].
    pub identity: PathBuf,
    /// The lock that the VM's process holds for life.
    pub lock: PathBuf,
    /// A second name of `qmp_socket`, for when somebody removes the first.
    pub qmp_spare: PathBuf,
    /// A second name of `agent_socket`.
    pub agent_spare: PathBuf,
}

impl MachineFiles {
    /// The files of the VM in `dir`.
    pub fn of(dir: &InstanceDir) -> MachineFiles {
        MachineFiles {
            qmp_socket: dir.qmp_sock(),
            agent_socket: dir.ga_sock(),
            serial_log: dir.serial_log(),
            stderr_log: dir.path().join("qemu.stderr.log"),
            identity: dir.path().join("qemu.json"),
            lock: dir.path().join("qemu.lock"),
            qmp_spare: dir.path().join("qmp.spare"),
            agent_spare: dir.path().join("ga.spare"),
        }
    }
}
