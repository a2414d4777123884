//! Makes a machine from a template and the files of its instance.

use std::path::Path;

use lima::image::{DiskFormat, RootBus};
use lima::layout::InstanceDir;
use lima::template::{Arch, Template};

use super::machine_spec::{AgentPort, Boot, Disk, Firmware, MachineSpec};
use crate::accelerator::Accelerator;
use crate::error::DriverError;

/// The longest kernel command line read; Linux takes 4 KiB at most.
const CMDLINE_LIMIT: u64 = 64 * 1024;

/// What is decided elsewhere than in the template.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The bus of the root disk, as the image needs it.
    pub root_bus: RootBus,
    /// QEMU's firmware file that the image asks for, such as `qboot.rom`.
    pub firmware: Option<String>,
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    pub ssh_local_port: u16,
    /// The accelerator that the user insists on.
    pub accelerator: Option<Accelerator>,
}

impl MachineSpec {
    /// Returns the machine of the instance in `dir`, whose template has its defaults filled in. It boots its kernel
    /// directly if the instance has one.
    ///
    /// # Errors
    /// The template asks for what QEMU does not have, or the instance lacks its disk.
    pub fn from_template(
        template: &Template,
        dir: &InstanceDir,
        decided: Decided,
    ) -> Result<MachineSpec, DriverError> {
        let missing = |field: &str| DriverError::Unsupported {
            field: field.into(),
            reason: "it is not set; the instance was not prepared with defaults".into(),
        };
        let arch = template.arch.ok_or_else(|| missing("arch"))?;
        let disk = dir.diff_disk();
        must_exist(&disk)?;
        let boot = boot(dir)?;
        let named = |models: &std::collections::BTreeMap<String, String>| {
            models
                .get(arch.as_str())
                .filter(|model| !model.is_empty())
                .cloned()
        };
        Ok(MachineSpec {
            name: format!("lima-{}", dir.name()),
            arch,
            cpus: template.cpus.ok_or_else(|| missing("cpus"))?,
            memory: template.memory.ok_or_else(|| missing("memory"))?.0,
            cpu: named(&template.vm_opts.qemu.cpu_type).or_else(|| named(&template.cpu_type)),
            accelerator: decided.accelerator,
            firmware: firmware(arch, decided.firmware, &boot),
            boot,
            disk_bus: decided.root_bus,
            disks: vec![Disk {
                path: disk,
                format: DiskFormat::Qcow2,
            }],
            cidata: Some(dir.cidata_iso()).filter(|path| path.exists()),
            agent_port: if arch == Arch::X86_64 {
                AgentPort::Serial
            } else {
                AgentPort::VirtioSerial
            },
            ssh_local_port: decided.ssh_local_port,
        })
    }
}

fn boot(dir: &InstanceDir) -> Result<Boot, DriverError> {
    let kernel = dir.kernel();
    if !kernel.exists() {
        return Ok(Boot::Disk);
    }
    Ok(Boot::Kernel {
        kernel,
        initrd: Some(dir.initrd()).filter(|path| path.exists()),
        cmdline: read_cmdline(&dir.kernel_cmdline())?,
    })
}

fn firmware(arch: Arch, of_image: Option<String>, boot: &Boot) -> Firmware {
    if let (Some(name), Boot::Kernel { .. }) = (of_image, boot) {
        return Firmware::Bios(name.into());
    }
    match (arch, boot) {
        // An ARM machine that boots from its disk needs UEFI, which comes with QEMU under this name.
        (Arch::Aarch64, Boot::Disk) => Firmware::Uefi("edk2-aarch64-code.fd".into()),
        // A PC boots with SeaBIOS even if the template does not say `legacyBIOS`: most cloud images boot both ways, and
        // SeaBIOS comes with every QEMU.
        _ => Firmware::Default,
    }
}

fn read_cmdline(path: &Path) -> Result<String, DriverError> {
    let failed = |source| DriverError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > CMDLINE_LIMIT => Err(failed(std::io::Error::other(
            format!("it has more than {CMDLINE_LIMIT} bytes"),
        ))),
        Ok(_) => Ok(std::fs::read_to_string(path)
            .map_err(failed)?
            .trim()
            .to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(error)),
    }
}

fn must_exist(path: &Path) -> Result<(), DriverError> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(DriverError::File {
            action: "find the VM's disk",
            path: path.to_owned(),
            source,
        }),
    }
}
