//! Which driver runs which VM.

use std::sync::Arc;

use lima::layout::InstanceDir;
use lima::template::VmType;

use crate::error::DriverError;
use crate::host::Host;
use crate::interface::Driver;
use crate::qemu::Qemu;
use crate::wsl::WslDriver;

/// Returns the driver for a template's `vmType`.
///
/// Outside of Windows every `vmType` runs on QEMU, because templates that name another one usually work there as well;
/// the template's owner was warned when it was read (`lima::template`).
///
/// # Errors
/// This operating system has no driver for it.
pub fn for_vm_type(vm_type: VmType, host: &Host) -> Result<Arc<dyn Driver>, DriverError> {
    if !cfg!(windows) {
        return Ok(Arc::new(Qemu::new(&host.search_path, &host.cache_dir)));
    }
    if vm_type == VmType::Wsl2 {
        return Ok(Arc::new(WslDriver::new(host)));
    }
    Err(DriverError::Unsupported {
        field: "vmType".into(),
        reason: format!(
            "{vm_type} VMs do not run on Windows yet (rdd cannot connect to QEMU's Unix sockets there): use wsl2, or run \
             the same template on Linux"
        ),
    })
}

/// Returns the driver that started the machine of `dir`, so that the machine can be observed and destroyed even if its
/// template cannot be read. Each driver leaves a record of its own name; without any, it is this system's usual driver.
pub fn for_instance(dir: &InstanceDir, host: &Host) -> Arc<dyn Driver> {
    let drivers: [Arc<dyn Driver>; 2] = [
        Arc::new(Qemu::new(&host.search_path, &host.cache_dir)),
        Arc::new(WslDriver::new(host)),
    ];
    let [qemu, wsl] = drivers;
    let started_by_wsl = wsl.last_record(dir).is_some();
    let started_by_qemu = qemu.last_record(dir).is_some();
    if started_by_wsl || (cfg!(windows) && !started_by_qemu) {
        wsl
    } else {
        qemu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_type_selects_the_driver_of_this_system() {
        let host = Host::default();
        for vm_type in [VmType::Qemu, VmType::Wsl2, VmType::Vz, VmType::Krunkit] {
            let chosen = for_vm_type(vm_type, &host).map(|driver| driver.name());
            if !cfg!(windows) {
                assert_eq!(chosen.unwrap(), "qemu");
            } else if vm_type == VmType::Wsl2 {
                assert_eq!(chosen.unwrap(), "wsl2");
            } else {
                assert!(chosen.unwrap_err().to_string().contains("use wsl2"));
            }
        }
    }

    #[test]
    fn instance_is_observed_by_the_driver_that_left_its_record() {
        let (folder, host) = (tempfile::tempdir().unwrap(), Host::default());
        let dir = InstanceDir::at(folder.path(), "vm");
        let usual = if cfg!(windows) { "wsl2" } else { "qemu" };
        assert_eq!(for_instance(&dir, &host).name(), usual);
        let record = r#"{"ssh_local_port":0,"started_at":1,"program":"/x"}"#;
        std::fs::write(dir.path().join("qemu.json"), record).unwrap();
        assert_eq!(for_instance(&dir, &host).name(), "qemu");
        std::fs::write(dir.path().join("wsl.json"), record).unwrap();
        assert_eq!(for_instance(&dir, &host).name(), "wsl2");
    }
}
