//! The fields whose values are names.

use serde::{Deserialize, Serialize};

/// Defines an enum of names. Its text form is the one that serde reads and writes.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Returns the name that templates use.
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
    /// Returns the architecture that this program was built for, or `None` if Lima has no name for it.
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
    /// The driver of a VM.
    VmType {
        /// QEMU.
        Qemu = "qemu",
        /// macOS Virtualization.framework.
        Vz = "vz",
        /// Windows Subsystem for Linux 2.
        Wsl2 = "wsl2",
        /// krunkit on macOS.
        Krunkit = "krunkit",
        /// A driver that is a program of its own.
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
    /// How the guest reaches folders of the host.
    MountType {
        /// sshfs, with the server on the host.
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
    /// When and as which user a provision step runs.
    ProvisionMode {
        /// As root, at each boot.
        System = "system",
        /// As the user, at each boot.
        User = "user",
        /// As root, early at each boot.
        Boot = "boot",
        /// As root, before the others; may replace Lima's default installation of dependencies.
        Dependency = "dependency",
        /// An Ansible playbook, run from the host.
        Ansible = "ansible",
        /// Writes a file.
        Data = "data",
        /// Edits a structured file.
        Yq = "yq",
    }
}

impl ProvisionMode {
    /// Returns whether steps of this mode are scripts that run in the guest.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(
            self,
            Self::Boot | Self::Dependency | Self::System | Self::User
        )
    }
}

names! {
    /// The purpose of a probe.
    ProbeMode {
        /// The VM is ready once the probe succeeds.
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
