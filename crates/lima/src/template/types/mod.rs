//! The fields of `lima.yaml`, as Lima's `LimaYAML` has them (`pkg/limatype/lima_yaml.go`).
//!
//! Every field of Lima is here, also those without effect in rdd (`template/unsupported.rs` warns about them), so that rdd
//! refuses no template for a field that Lima accepts. A field is `None` if the template does not set it;
//! [`Template::fill_defaults`] sets what rdd needs.

/// Defines structs of fields. Empty fields are left out of the YAML.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name {
                $($(#[$fdoc])* #[serde(skip_serializing_if = "crate::template::types::is_default")] pub $field: $type,)*
            }
        )*
    };
}

mod guest;
mod machine;
mod names;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use guest::*;
pub use machine::*;
pub use names::*;

use super::size::ByteSize;

/// Returns whether a field is empty, so that it is left out of the YAML.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fields! {
    /// A `lima.yaml`.
    Template {
        /// Templates that this one builds on. They are merged in by [`crate::template::embed`] before an instance is made.
        base: Vec<Locator>,
        /// The oldest Lima that understands the template.
        minimum_lima_version: Option<String>,
        /// The driver; QEMU by default.
        vm_type: Option<VmType>,
        /// Settings of single drivers.
        vm_opts: VmOpts,
        /// The guest's operating system; only Linux is supported.
        os: Option<Os>,
        /// The guest's architecture; the host's by default.
        arch: Option<Arch>,
        /// Disk images. The first one for the architecture that can be had is used.
        images: Vec<Image>,
        /// QEMU's CPU models by architecture; deprecated for `vmOpts.qemu.cpuType`.
        cpu_type: BTreeMap<String, String>,
        /// Number of CPUs.
        cpus: Option<u32>,
        /// Size of the RAM.
        memory: Option<ByteSize>,
        /// Size of the disk.
        disk: Option<ByteSize>,
        /// More disks, by name.
        additional_disks: Vec<Disk>,
        /// Folders of the host that the guest sees.
        mounts: Vec<Mount>,
        /// Mount types that the image does not support.
        mount_types_unsupported: Vec<String>,
        /// How folders are mounted.
        mount_type: Option<MountType>,
        /// Whether the guest gets inotify events for changes on the host.
        mount_inotify: Option<bool>,
        /// Settings of ssh.
        ssh: Ssh,
        /// UEFI or BIOS.
        firmware: Firmware,
        /// The sound card.
        audio: Audio,
        /// The display.
        video: Video,
        /// Scripts and files that set the guest up.
        provision: Vec<Provision>,
        /// Whether packages are upgraded at the first boot.
        upgrade_packages: Option<bool>,
        /// containerd in the guest. Off by default, unlike in Lima.
        containerd: Containerd,
        /// Where Lima installs its guest agent.
        guest_install_prefix: Option<String>,
        /// Readiness probes.
        probes: Vec<Probe>,
        /// Ports and sockets that are forwarded between guest and host.
        port_forwards: Vec<PortForward>,
        /// Files of the guest that are copied to the host.
        copy_to_host: Vec<CopyToHost>,
        /// A text for the user after the start.
        message: Option<String>,
        /// More network interfaces.
        networks: Vec<Network>,
        /// Environment variables of the guest (`/etc/environment`).
        env: BTreeMap<String, String>,
        /// Parameters, for `{{.Param.name}}` in scripts.
        param: BTreeMap<String, String>,
        /// Name servers.
        dns: Vec<IpAddr>,
        /// The host's resolver, as the guest's name server.
        host_resolver: HostResolver,
        /// Whether the guest gets the host's proxy variables; yes by default.
        #[serde(rename = "propagateProxyEnv")]
        propagate_proxy_env: Option<bool>,
        /// Certificates that the guest trusts.
        #[serde(rename = "caCerts")]
        ca_certs: CaCerts,
        /// Rosetta on Apple silicon; deprecated for `vmOpts.vz.rosetta`.
        rosetta: Rosetta,
        /// A guest without mounts, port forwards, guest agent and containerd.
        plain: Option<bool>,
        /// The guest's time zone, such as `Europe/Berlin`.
        timezone: Option<String>,
        /// Whether the guest can run VMs.
        nested_virtualization: Option<bool>,
        /// The guest's user.
        user: User,
        /// Whether the VM has a TPM.
        tpm: Option<bool>,
        /// Settings of single guest systems.
        os_opts: BTreeMap<String, serde_json::Value>,
    }
}
