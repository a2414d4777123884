//! Fields that Lima acts on and rdd does not yet. They are read, kept and named, so that nobody waits for a mount that
//! never comes.

use super::{MountType, ProvisionMode, Template, VmType};

/// Something about a template that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field's path.
    pub field: String,
    /// What about it.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

const NOT_YET: &str = "not supported by rdd yet, ignored";

/// What is set and has no effect yet.
pub(super) fn warnings(t: &Template) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut add = |field: &str, message: &str| {
        found.push(Warning {
            field: field.to_owned(),
            message: message.to_owned(),
        });
    };
    let on = |value: Option<bool>| value == Some(true);
    for (field, set) in [
        ("additionalDisks", !t.additional_disks.is_empty()),
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
        ("firmware.images", !t.firmware.images.is_empty()),
        (
            "audio.device",
            t.audio
                .device
                .as_deref()
                .is_some_and(|device| !matches!(device, "" | "none" | "default")),
        ),
        (
            "video.display",
            t.video
                .display
                .as_deref()
                .is_some_and(|display| !matches!(display, "" | "none" | "default")),
        ),
        ("upgradePackages", on(t.upgrade_packages)),
        ("containerd.system", on(t.containerd.system)),
        ("containerd.user", on(t.containerd.user)),
        ("guestInstallPrefix", t.guest_install_prefix.is_some()),
        ("probes", !t.probes.is_empty()),
        (
            "portForwards",
            t.port_forwards.iter().any(|rule| rule.ignore != Some(true)),
        ),
        ("copyToHost", !t.copy_to_host.is_empty()),
        ("networks", !t.networks.is_empty()),
        ("dns", !t.dns.is_empty()),
        ("hostResolver.hosts", !t.host_resolver.hosts.is_empty()),
        ("caCerts", t.ca_certs != super::CaCerts::default()),
        ("rosetta", on(t.rosetta.enabled)),
        ("vmOpts.vz.rosetta", on(t.vm_opts.vz.rosetta.enabled)),
        ("vmOpts.wsl2", !t.vm_opts.wsl2.is_empty()),
        ("vmOpts.krunkit", !t.vm_opts.krunkit.is_empty()),
        ("nestedVirtualization", on(t.nested_virtualization)),
    ] {
        if set {
            add(field, NOT_YET);
        }
    }
    if let Some(kind) = t.vm_type.filter(|kind| *kind != VmType::Qemu) {
        add(
            "vmType",
            &format!("driver {kind} is not supported by rdd yet, qemu is used"),
        );
    }
    for (i, step) in t.provision.iter().enumerate() {
        let mode = step.mode.unwrap_or(ProvisionMode::System);
        if !matches!(
            mode,
            ProvisionMode::System | ProvisionMode::User | ProvisionMode::Boot
        ) {
            add(
                &format!("provision[{i}].mode"),
                &format!("mode {mode} is {NOT_YET}"),
            );
        }
    }
    if let Some(version) = t.minimum_lima_version.as_deref()
        && newer_than_ours(version)
    {
        let ours = crate::layout::LIMA_VERSION;
        add(
            "minimumLimaVersion",
            &format!("asks for Lima {version}; rdd reads the format of {ours}"),
        );
    }
    found
}

fn newer_than_ours(version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let text = text.trim_start_matches('v');
        text.split(['.', '-', '+'])
            .map_while(|part| part.parse().ok())
            .take(3)
            .collect()
    };
    numbers(version) > numbers(crate::layout::LIMA_VERSION)
}
