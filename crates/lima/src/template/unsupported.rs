//! Fields of Lima without effect in rdd. Each is named in a warning, so that no user waits for a mount that never comes.

use std::cmp::Ordering;

use super::types::{CaCerts, MountType, ProvisionMode, Template, VmType, VzOpts};
use super::version;

/// Something that the author of a template should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field's path.
    pub field: String,
    /// What is to be known about it.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

const NOT_YET: &str = "not supported by rdd yet, ignored";

/// Returns a warning for each field that is set and has no effect.
pub(super) fn warnings(t: &Template) -> Vec<Warning> {
    let mut found: Vec<Warning> = machine(t)
        .into_iter()
        .chain(guest(t))
        .filter(|(_, is_set)| *is_set)
        .map(|(field, _)| Warning {
            field: field.to_owned(),
            message: NOT_YET.to_owned(),
        })
        .collect();
    let mut add = |field: &str, message: String| {
        found.push(Warning {
            field: field.to_owned(),
            message,
        });
    };
    let has_driver = |kind: VmType| kind == VmType::Qemu || (cfg!(windows) && kind == VmType::Wsl2);
    if let Some(kind) = t.vm_type.filter(|kind| !has_driver(*kind)) {
        add(
            "vmType",
            format!("driver {kind} is not supported by rdd yet, qemu is used"),
        );
    }
    if t.ssh.address.is_some() {
        add(
            "ssh.address",
            "ssh always goes through 127.0.0.1, ignored".to_owned(),
        );
    }
    if t.host_resolver.enabled.is_some() || t.host_resolver.ipv6.is_some() {
        let field = if t.host_resolver.enabled.is_some() {
            "hostResolver.enabled"
        } else {
            "hostResolver.ipv6"
        };
        add(
            field,
            "the guest asks QEMU's name server, which asks the host's; ignored".to_owned(),
        );
    }
    if t.user.passwordless_sudo == Some(false) {
        add(
            "user.passwordlessSudo",
            "not supported by rdd yet, sudo asks for no password".to_owned(),
        );
    }
    for (i, step) in t.provision.iter().enumerate() {
        let mode = step.mode.unwrap_or(ProvisionMode::System);
        if !mode.runs() && mode != ProvisionMode::Data {
            add(
                &format!("provision[{i}].mode"),
                format!("mode {mode} is {NOT_YET}"),
            );
        } else if step.playbook.is_some() {
            add(
                &format!("provision[{i}].playbook"),
                format!("goes with mode ansible only; the mode is {mode}; ignored"),
            );
        }
    }
    if let Some(asked) = t.minimum_lima_version.as_deref()
        && version::compare(asked, crate::layout::LIMA_FORMAT) == Ordering::Greater
    {
        let ours = crate::layout::LIMA_FORMAT;
        add(
            "minimumLimaVersion",
            format!("asks for Lima {asked}; rdd reads the format of {ours}"),
        );
    }
    found
}

fn on(value: Option<bool>) -> bool {
    value == Some(true)
}

/// QEMU's word for a device that is not there, and Lima's for its default.
fn names_device(value: Option<&String>) -> bool {
    value.is_some_and(|device| !matches!(device.as_str(), "" | "none" | "default"))
}

/// Fields of the machine, and whether they are set.
fn machine(t: &Template) -> Vec<(&'static str, bool)> {
    vec![
        ("additionalDisks", !t.additional_disks.is_empty()),
        ("firmware.images", !t.firmware.images.is_empty()),
        ("audio.device", names_device(t.audio.device.as_ref())),
        ("audio.interface", names_device(t.audio.interface.as_ref())),
        ("video.display", names_device(t.video.display.as_ref())),
        ("video.vnc.display", t.video.vnc.display.is_some()),
        ("networks", !t.networks.is_empty()),
        ("rosetta", on(t.rosetta.enabled) || on(t.rosetta.bin_fmt)),
        ("vmOpts.vz", t.vm_opts.vz != VzOpts::default()),
        ("vmOpts.wsl2", !t.vm_opts.wsl2.is_empty()),
        ("vmOpts.krunkit", !t.vm_opts.krunkit.is_empty()),
        (
            "vmOpts.qemu.minimumVersion",
            t.vm_opts.qemu.minimum_version.is_some(),
        ),
        ("nestedVirtualization", on(t.nested_virtualization)),
        ("tpm", on(t.tpm)),
        ("osOpts", t.os_opts.values().any(|value| !value.is_null())),
    ]
}

/// Fields of the guest, and of what is between guest and host.
fn guest(t: &Template) -> Vec<(&'static str, bool)> {
    vec![
        ("mounts", !t.mounts.is_empty()),
        (
            "mountType",
            t.mount_type
                .is_some_and(|kind| kind != MountType::ReverseSshfs)
                && !t.mounts.is_empty(),
        ),
        ("mountInotify", on(t.mount_inotify)),
        ("ssh.forwardX11", on(t.ssh.forward_x11)),
        ("ssh.forwardX11Trusted", on(t.ssh.forward_x11_trusted)),
        ("ssh.overVsock", on(t.ssh.over_vsock)),
        ("upgradePackages", on(t.upgrade_packages)),
        ("containerd.system", on(t.containerd.system)),
        ("containerd.user", on(t.containerd.user)),
        ("containerd.archives", !t.containerd.archives.is_empty()),
        ("guestInstallPrefix", t.guest_install_prefix.is_some()),
        ("probes", !t.probes.is_empty()),
        (
            "portForwards",
            t.port_forwards.iter().any(|rule| rule.ignore != Some(true)),
        ),
        ("copyToHost", !t.copy_to_host.is_empty()),
        ("caCerts", t.ca_certs != CaCerts::default()),
    ]
}
