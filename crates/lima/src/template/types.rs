//! The fields of `lima.yaml`, as Lima's `LimaYAML` has them (`pkg/limatype/lima_yaml.go`).
//!
//! Every field that Lima knows is here, also those that rdd does not act on yet ([`super::unsupported`] names them),
//! so that a template of Lima's is never refused for a field that Lima accepts. A field is `None` when the template
//! does not say; [`super::Template::fill_defaults`] fills what rdd needs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ByteSize;

/// Gives an enum of names its text form, so that messages and serde say the same.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// The name as templates write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// A processor architecture.
    Arch {
        /// 64-bit x86.
        X86_64 = "x86_64",
        /// 64-bit ARM.
        Aarch64 = "aarch64",
        /// 32-bit ARM.
        Armv7l = "armv7l",
        /// 64-bit POWER.
        Ppc64le = "ppc64le",
        /// 64-bit RISC-V.
        Riscv64 = "riscv64",
        /// IBM Z.
        S390x = "s390x",
    }
}

impl Arch {
    /// The architecture that this program was built for; `None` when Lima has no name for it.
    #[must_use]
    pub fn of_this_build() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            "arm" => Some(Self::Armv7l),
            "powerpc64" => Some(Self::Ppc64le),
            "riscv64" => Some(Self::Riscv64),
            "s390x" => Some(Self::S390x),
            _ => None,
        }
    }
}

names! {
    /// What runs the VM.
    VmType {
        /// QEMU.
        Qemu = "qemu",
        /// macOS Virtualization.framework.
        Vz = "vz",
        /// Windows Subsystem for Linux 2.
        Wsl2 = "wsl2",
        /// krunkit on macOS.
        Krunkit = "krunkit",
        /// A driver outside of Lima.
        Ext = "ext",
    }
}

names! {
    /// The guest's operating system.
    Os {
        /// Linux.
        Linux = "Linux",
        /// macOS.
        Darwin = "Darwin",
        /// FreeBSD.
        FreeBsd = "FreeBSD",
        /// Windows.
        Windows = "Windows",
    }
}

names! {
    /// How folders of the host get into the guest.
    MountType {
        /// sshfs, served by the host.
        ReverseSshfs = "reverse-sshfs",
        /// 9p over virtio.
        NineP = "9p",
        /// virtiofs.
        Virtiofs = "virtiofs",
        /// WSL2's own mounts.
        Wsl2 = "wsl2",
    }
}

names! {
    /// When and as whom a provision script runs.
    ProvisionMode {
        /// As root, at each boot.
        System = "system",
        /// As the user, at each boot.
        User = "user",
        /// As root, early at each boot.
        Boot = "boot",
        /// Instead of the default installation of dependencies.
        Dependency = "dependency",
        /// An Ansible playbook, run from the host.
        Ansible = "ansible",
        /// Writes a file.
        Data = "data",
        /// Edits a structured file.
        Yq = "yq",
    }
}

names! {
    /// What a probe is for.
    ProbeMode {
        /// The instance is ready once it succeeds.
        Readiness = "readiness",
    }
}

names! {
    /// The protocol of a forwarded port.
    Proto {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// Both.
        Any = "any",
    }
}

/// Defines structs whose fields are left out when they are empty.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name {
                $($(#[$fdoc])* #[serde(skip_serializing_if = "super::is_default")] pub $field: $type,)*
            }
        )*
    };
}

fields! {
    /// A whole `lima.yaml`.
    Template {
        /// Templates that this one builds on. rdd needs them embedded (`limactl template copy --embed-all`).
        base: Vec<Locator>,
        /// The oldest Lima that understands the template.
        minimum_lima_version: Option<String>,
        /// What runs the VM; QEMU when not said.
        vm_type: Option<VmType>,
        /// Settings of single drivers.
        vm_opts: VmOpts,
        /// The guest's operating system; only Linux is supported.
        os: Option<Os>,
        /// The guest's architecture; the host's when not said.
        arch: Option<Arch>,
        /// Disk images; the first that matches the architecture and can be had is used.
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
        /// Mount types that the image cannot do.
        mount_types_unsupported: Vec<String>,
        /// How folders are mounted.
        mount_type: Option<MountType>,
        /// Whether changes on the host are told to the guest.
        mount_inotify: Option<bool>,
        /// ssh.
        ssh: Ssh,
        /// Firmware.
        firmware: Firmware,
        /// Sound.
        audio: Audio,
        /// Screen.
        video: Video,
        /// Scripts that set the guest up.
        provision: Vec<Provision>,
        /// Whether packages are upgraded at first boot.
        upgrade_packages: Option<bool>,
        /// containerd in the guest. Off unless asked for, unlike in Lima.
        containerd: Containerd,
        /// Where Lima's guest agent goes.
        guest_install_prefix: Option<String>,
        /// Scripts that tell whether the guest is ready.
        probes: Vec<Probe>,
        /// Ports and sockets of the guest that the host sees.
        port_forwards: Vec<PortForward>,
        /// Files of the guest that are copied to the host.
        copy_to_host: Vec<CopyToHost>,
        /// Shown to the user after the start.
        message: Option<String>,
        /// More network interfaces.
        networks: Vec<Network>,
        /// Environment variables of the guest (`/etc/environment`).
        env: BTreeMap<String, String>,
        /// Parameters, for `{{.Param.name}}` in scripts.
        param: BTreeMap<String, String>,
        /// Name servers.
        dns: Vec<IpAddr>,
        /// Name resolution by the host.
        host_resolver: HostResolver,
        /// Whether the host's proxy settings go to the guest.
        #[serde(rename = "propagateProxyEnv")]
        propagate_proxy_env: Option<bool>,
        /// Certificates that the guest trusts.
        #[serde(rename = "caCerts")]
        ca_certs: CaCerts,
        /// Rosetta on Apple silicon; deprecated for `vmOpts.vz.rosetta`.
        rosetta: Rosetta,
        /// No mounts, forwards and guest agent.
        plain: Option<bool>,
        /// The guest's time zone, such as `Europe/Berlin`.
        timezone: Option<String>,
        /// Whether the guest may run VMs itself.
        nested_virtualization: Option<bool>,
        /// The guest's user.
        user: User,
    }

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

    /// A disk image, with a kernel when it is not booted by firmware.
    Image {
        /// An http(s) URL, a file, or `image://NAME` for one that `rdd image build` made.
        location: String,
        /// Its architecture; the template's when not said.
        arch: Option<Arch>,
        /// `sha256:…` or `sha512:…`.
        digest: Option<String>,
        /// A kernel to boot directly.
        kernel: Option<Kernel>,
        /// The RAM disk of `kernel`.
        initrd: Option<File>,
    }

    /// A kernel.
    Kernel {
        /// Where it is.
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
        /// Where it is.
        location: String,
        /// Its architecture.
        arch: Option<Arch>,
        /// `sha256:…` or `sha512:…`.
        digest: Option<String>,
        /// The driver it is for.
        vm_type: Option<VmType>,
    }

    /// One of `limactl disk`'s disks.
    Disk {
        /// Its name.
        name: String,
        /// Whether it is formatted.
        format: Option<bool>,
        /// The file system.
        fs_type: Option<String>,
        /// Arguments of mkfs.
        fs_args: Vec<String>,
    }

    /// A folder of the host that the guest sees.
    Mount {
        /// The folder on the host.
        location: String,
        /// The folder in the guest; `location` when not said.
        mount_point: Option<String>,
        /// Whether the guest may write.
        writable: Option<bool>,
        /// Settings of reverse-sshfs.
        sshfs: Sshfs,
        /// Settings of 9p.
        #[serde(rename = "9p")]
        nine_p: NineP,
        /// Settings of virtiofs.
        virtiofs: Virtiofs,
    }

    /// Settings of reverse-sshfs.
    Sshfs {
        /// Whether it caches.
        cache: Option<bool>,
        /// Whether it follows links on the host.
        follow_symlinks: Option<bool>,
        /// `builtin` or `openssh-sftp-server`.
        sftp_driver: Option<String>,
    }

    /// Settings of 9p.
    NineP {
        /// Security model.
        security_model: Option<String>,
        /// Protocol version.
        protocol_version: Option<String>,
        /// Packet size.
        msize: Option<ByteSize>,
        /// Cache mode.
        cache: Option<String>,
    }

    /// Settings of virtiofs.
    Virtiofs {
        /// Length of the queue.
        queue_size: Option<u32>,
    }

    /// ssh.
    Ssh {
        /// The guest's address; the loopback address when not said.
        address: Option<String>,
        /// The port on the host; any free one when 0 or not said.
        local_port: Option<u16>,
        /// Whether the keys of `~/.ssh` may log in too.
        #[serde(rename = "loadDotSSHPubKeys")]
        load_dot_ssh_pub_keys: Option<bool>,
        /// Whether the host's ssh agent is forwarded.
        forward_agent: Option<bool>,
        /// Whether X11 is forwarded.
        #[serde(rename = "forwardX11")]
        forward_x11: Option<bool>,
        /// Whether forwarded X11 is trusted.
        #[serde(rename = "forwardX11Trusted")]
        forward_x11_trusted: Option<bool>,
        /// Whether ssh goes over vsock.
        over_vsock: Option<bool>,
    }

    /// Firmware.
    Firmware {
        /// BIOS instead of UEFI.
        #[serde(rename = "legacyBIOS")]
        legacy_bios: Option<bool>,
        /// UEFI images.
        images: Vec<File>,
    }

    /// Sound.
    Audio {
        /// QEMU's audiodev.
        device: Option<String>,
    }

    /// Screen.
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

    /// A script that sets the guest up.
    Provision {
        /// When and as whom it runs; `system` when not said.
        mode: Option<ProvisionMode>,
        /// With `dependency`: whether it replaces the default one.
        skip_default_dependency_resolution: Option<bool>,
        /// The script.
        script: Option<String>,
        /// The script, somewhere else.
        file: Option<Locator>,
        /// With `ansible`: the playbook.
        playbook: Option<String>,
        /// With `data`: the file's content.
        content: Option<String>,
        /// With `data`: whether an existing file is replaced.
        overwrite: Option<bool>,
        /// With `data` and `yq`: the owner.
        owner: Option<String>,
        /// With `data` and `yq`: the path.
        path: Option<String>,
        /// With `data` and `yq`: the mode.
        permissions: Option<String>,
        /// With `yq`: the expression.
        expression: Option<String>,
        /// With `yq`: the format.
        format: Option<String>,
    }

    /// containerd in the guest.
    Containerd {
        /// As root.
        system: Option<bool>,
        /// As the user.
        user: Option<bool>,
        /// Where it is taken from.
        archives: Vec<File>,
    }

    /// A script that tells whether the guest is ready.
    Probe {
        /// What it is for; `readiness` when not said.
        mode: Option<ProbeMode>,
        /// What it waits for.
        description: Option<String>,
        /// The script.
        script: Option<String>,
        /// The script, somewhere else.
        file: Option<Locator>,
        /// What to do when it fails.
        hint: Option<String>,
    }

    /// A port or socket of the guest that the host sees, or the other way round.
    PortForward {
        /// Only for guest ports bound to 0.0.0.0.
        #[serde(rename = "guestIPMustBeZero")]
        guest_ip_must_be_zero: Option<bool>,
        /// The address in the guest.
        #[serde(rename = "guestIP")]
        guest_ip: Option<IpAddr>,
        /// The port in the guest.
        guest_port: Option<u16>,
        /// The ports in the guest.
        guest_port_range: Option<[u16; 2]>,
        /// The socket in the guest.
        guest_socket: Option<String>,
        /// The address on the host.
        #[serde(rename = "hostIP")]
        host_ip: Option<IpAddr>,
        /// The port on the host.
        host_port: Option<u16>,
        /// The ports on the host.
        host_port_range: Option<[u16; 2]>,
        /// The socket on the host.
        host_socket: Option<String>,
        /// The protocol.
        proto: Option<Proto>,
        /// From the host into the guest.
        reverse: Option<bool>,
        /// Not to be forwarded.
        ignore: Option<bool>,
        /// Forwarded also while nobody listens.
        #[serde(rename = "static")]
        is_static: Option<bool>,
    }

    /// A file of the guest that is copied to the host.
    CopyToHost {
        /// The path in the guest.
        guest: Option<String>,
        /// The path on the host.
        host: Option<String>,
        /// Whether it is deleted when the VM stops.
        delete_on_stop: Option<bool>,
    }

    /// A network interface.
    Network {
        /// One of the networks of `networks.yaml`.
        lima: Option<String>,
        /// A QEMU socket.
        socket: Option<String>,
        /// NAT of Virtualization.framework.
        #[serde(rename = "vzNAT")]
        vz_nat: Option<bool>,
        /// The address of the card.
        mac_address: Option<String>,
        /// The name in the guest.
        interface: Option<String>,
        /// The metric of its routes.
        metric: Option<u32>,
    }

    /// Name resolution by the host.
    HostResolver {
        /// Whether it is used.
        enabled: Option<bool>,
        /// Whether it answers with IPv6 addresses.
        ipv6: Option<bool>,
        /// Names with their addresses.
        hosts: BTreeMap<String, String>,
    }

    /// Certificates that the guest trusts.
    CaCerts {
        /// Whether the distribution's are removed.
        remove_defaults: Option<bool>,
        /// Files on the host.
        files: Vec<String>,
        /// Certificates in PEM.
        certs: Vec<String>,
    }

    /// The guest's user.
    User {
        /// Login name; the host user's when not said.
        name: Option<String>,
        /// Full name.
        comment: Option<String>,
        /// Home folder; `/home/NAME.guest` when not said.
        home: Option<String>,
        /// Login shell; `/bin/bash` when not said.
        shell: Option<String>,
        /// Number; the host user's when not said.
        uid: Option<u32>,
    }
}
