//! QEMU's command line for a machine.
//!
//! Every setting is explicit: QEMU's defaults and its user's configuration files have no effect. Commas in a path are
//! doubled, as QEMU's option parser requires (`docs/system/invocation.rst`). No other quoting is needed, because no shell
//! is involved.

use std::path::Path;

use lima::image::RootBus;
use lima::template::Arch;

use super::files::QemuFiles;
use super::machine_spec::{AGENT_PORT_NAME, AgentPort, Boot, Firmware, MachineSpec};
use super::tcg_threads::TcgThreads;
use crate::accelerator::Accelerator;
use crate::error::DriverError;

/// The guest's address in QEMU's user network, by DHCP or set by the image itself. `.2` is the gateway and the host,
/// `.3` the name server.
const GUEST_ADDRESS: &str = "10.0.2.15";

/// Kernel parameters for an emulated processor, which needs no mitigation of speculation; self-tests only cost time.
/// Measured in `guestimage/BOOT.md`. With hardware acceleration nothing is added: the mitigations stay on.
const EMULATED_KERNEL_WORDS: &str =
    "mitigations=off no_timer_check cryptomgr.notests random.trust_cpu=on";

/// The share of the guest's memory that QEMU gets for translated code. QEMU's own default is 1 GiB for every guest, which
/// a busy guest fills: a guest of 256 MiB then takes more than 1 GiB of the host.
const TRANSLATION_SHARE: u64 = 4;
/// The least and the most for translated code, in MiB. The boot of a Debian guest translates about 60 MiB; beyond 512
/// MiB the buffer is hardly ever full.
const TRANSLATION_MIB: (u64, u64) = (64, 512);

/// How QEMU emulates a processor on this host; without effect where the hardware runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emulation {
    /// The host's threads for the guest's CPUs.
    pub threads: TcgThreads,
    /// The speed of the host's time stamp counter in kHz, if the guest reads that counter
    /// ([`time_stamp_counter`](super::time_stamp_counter)). The guest's kernel then need not measure it.
    pub counter_khz: Option<u32>,
}

/// Returns the arguments after the program's name.
///
/// # Errors
/// A path that is not UTF-8, or a combination that QEMU does not have.
pub fn command_line(
    spec: &MachineSpec,
    files: &QemuFiles,
    accelerator: Accelerator,
    emulation: Emulation,
) -> Result<Vec<String>, DriverError> {
    let mut args = Arguments(Vec::with_capacity(64));
    args.option("-name", format!("{},debug-threads=on", doubled(&spec.name)));
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.option("-display", "none");
    args.option("-machine", machine(spec)?);
    args.option("-accel", accel(spec, accelerator, emulation.threads));
    args.option("-cpu", cpu(spec, accelerator));
    args.option(
        "-smp",
        format!("{n},sockets=1,cores={n},threads=1", n = spec.cpus.max(1)),
    );
    // QEMU reads a number without a suffix as MiB.
    args.option("-m", (spec.memory >> 20).max(1).to_string());
    args.option("-rtc", "base=utc");
    boot(&mut args, spec, accelerator, emulation.counter_khz)?;
    disks(&mut args, spec)?;
    network(&mut args, spec);
    channels(&mut args, spec, files)?;
    args.option("-device", "virtio-rng-pci");
    args.option("-device", panic_device(spec));
    Ok(args.0)
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }
}

fn machine(spec: &MachineSpec) -> Result<&'static str, DriverError> {
    match (spec.arch, &spec.boot) {
        // A kernel that is loaded directly needs no keyboard controller, no SMM and no AHCI, and boots faster without
        // probing them.
        (Arch::X86_64, Boot::Kernel { .. }) => {
            Ok("q35,hpet=off,smm=off,usb=off,vmport=off,graphics=off,sata=off,smbus=off,i8042=off")
        }
        // Boot loaders and foreign kernels may expect a PC; `graphics=off` sends the firmware's text to the serial log.
        (Arch::X86_64, Boot::Disk) => Ok("q35,hpet=off,usb=off,vmport=off,graphics=off"),
        (Arch::Aarch64, _) => Ok("virt"),
        (other, _) => Err(DriverError::Unsupported {
            field: "arch".into(),
            reason: format!("{other} guests are not supported; x86_64 and aarch64 are"),
        }),
    }
}

fn accel(spec: &MachineSpec, accelerator: Accelerator, threads: TcgThreads) -> String {
    match accelerator {
        Accelerator::Tcg => {
            let (least, most) = TRANSLATION_MIB;
            let buffer = ((spec.memory >> 20) / TRANSLATION_SHARE).clamp(least, most);
            format!("tcg,thread={},tb-size={buffer}", threads.name())
        }
        other => other.name().into(),
    }
}

fn cpu(spec: &MachineSpec, accelerator: Accelerator) -> &str {
    let emulated = matches!(accelerator, Accelerator::Tcg | Accelerator::Whpx);
    match &spec.cpu {
        // `host` models need hardware; an emulated processor cannot be one.
        Some(model) if !(emulated && model.starts_with("host")) => model,
        _ if !emulated => "host",
        // Enough for distributions that need x86-64-v2, and a guest boots a fifth faster than with `max`.
        _ if spec.arch == Arch::X86_64 => "Nehalem,+rdrand",
        _ => "max",
    }
}

fn boot(
    args: &mut Arguments,
    spec: &MachineSpec,
    accelerator: Accelerator,
    counter_khz: Option<u32>,
) -> Result<(), DriverError> {
    match &spec.firmware {
        Firmware::Default => {}
        // `-bios` takes its value literally.
        Firmware::Bios(path) => args.option("-bios", text(path)?),
        Firmware::Uefi(path) => args.option(
            "-drive",
            format!(
                "if=pflash,unit=0,format=raw,readonly=on,file={}",
                doubled(text(path)?)
            ),
        ),
    }
    if let Boot::Kernel {
        kernel,
        initrd,
        cmdline,
    } = &spec.boot
    {
        args.option("-kernel", text(kernel)?);
        if let Some(initrd) = initrd {
            args.option("-initrd", text(initrd)?);
        }
        let mut words = cmdline.trim().to_owned();
        if accelerator == Accelerator::Tcg && spec.arch == Arch::X86_64 {
            words = format!("{words} {EMULATED_KERNEL_WORDS}");
            if let Some(khz) = counter_khz {
                // `admin-guide/kernel-parameters.txt`. "reliable" alone would keep a wrong measurement.
                words = format!("{words} tsc=reliable tsc_early_khz={khz}");
            }
        }
        args.option("-append", words);
    }
    Ok(())
}

fn disks(args: &mut Arguments, spec: &MachineSpec) -> Result<(), DriverError> {
    let mut drives = Vec::with_capacity(spec.disks.len() + 1);
    for (index, disk) in spec.disks.iter().enumerate() {
        let id = format!("disk{index}");
        let path = doubled(text(&disk.path)?);
        let format = disk.format.as_str();
        args.option(
            "-drive",
            format!("if=none,id={id},format={format},cache=writeback,discard=unmap,file={path}"),
        );
        drives.push(id);
    }
    if let Some(cidata) = &spec.cidata {
        args.option(
            "-drive",
            format!(
                "if=none,id=cidata,format=raw,readonly=on,file={}",
                doubled(text(cidata)?)
            ),
        );
        drives.push("cidata".into());
    }
    if spec.disk_bus == RootBus::Nvme && !drives.is_empty() {
        // The guest probes one controller with several namespaces faster than several controllers.
        args.option("-device", "nvme,id=nvme0,serial=rdd");
    }
    for (index, id) in drives.iter().enumerate() {
        let number = index + 1;
        args.option(
            "-device",
            match spec.disk_bus {
                RootBus::Nvme => format!("nvme-ns,bus=nvme0,drive={id},nsid={number}"),
                // When the host's disk is full or fails, QEMU freezes the guest instead of reporting an error to it, and
                // repeats the request when the guest continues. QEMU's NVMe device cannot do that.
                RootBus::Virtio => format!(
                    "virtio-blk-pci,drive={id},serial={id},bootindex={number},werror=stop,rerror=stop"
                ),
            },
        );
    }
    Ok(())
}

fn network(args: &mut Arguments, spec: &MachineSpec) {
    // The port is bound to loopback, because the guest's sshd is for its owner only.
    args.option(
        "-netdev",
        format!(
            "user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:{}-{GUEST_ADDRESS}:22",
            spec.ssh_local_port
        ),
    );
    // Without a network boot ROM, in which the firmware would spend time.
    args.option("-device", "virtio-net-pci,netdev=net0,romfile=");
}

fn channels(
    args: &mut Arguments,
    spec: &MachineSpec,
    files: &QemuFiles,
) -> Result<(), DriverError> {
    let socket = |id: &str, path: &Path| -> Result<String, DriverError> {
        Ok(format!(
            "socket,id={id},server=on,wait=off,path={}",
            doubled(text(path)?)
        ))
    };
    // The first `-serial` is the guest's ttyS0, the second ttyS1.
    args.option(
        "-chardev",
        // QEMU appends, so that the file can be truncated while QEMU runs.
        format!(
            "file,id=serial,append=on,path={}",
            doubled(text(&files.serial_log)?)
        ),
    );
    args.option("-serial", "chardev:serial");
    args.option("-chardev", socket("agent", &files.agent_socket)?);
    match (spec.agent_port, spec.arch) {
        (AgentPort::Serial, Arch::X86_64) => args.option("-serial", "chardev:agent"),
        // QEMU's `virt` machine has one serial line for the guest.
        _ => {
            args.option("-device", "virtio-serial-pci");
            args.option(
                "-device",
                format!("virtserialport,chardev=agent,name={AGENT_PORT_NAME}"),
            );
        }
    }
    args.option("-chardev", socket("qmp", &files.qmp_socket)?);
    args.option("-mon", "chardev=qmp,mode=control");
    Ok(())
}

/// The device through which the guest's kernel reports a panic. QEMU then exits with that cause (`docs/specs/pvpanic`), and
/// the VM counts as crashed. Without the device a guest hangs for ever after a panic.
fn panic_device(spec: &MachineSpec) -> &'static str {
    match spec.arch {
        // An I/O port that ACPI names, so that no PCI device is probed at each boot.
        Arch::X86_64 => "pvpanic",
        _ => "pvpanic-pci",
    }
}

/// Returns the path as text, because QEMU's options are text.
pub(super) fn text(path: &Path) -> Result<&str, DriverError> {
    path.to_str().ok_or_else(|| DriverError::Unsupported {
        field: format!("path {path:?}"),
        reason:
            "QEMU takes paths as UTF-8 text, and this path is not UTF-8: use a folder with another name"
                .into(),
    })
}

/// Doubles commas, which end a value in QEMU's options.
fn doubled(value: &str) -> String {
    value.replace(',', ",,")
}
