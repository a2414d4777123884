//! Where a guest's instructions run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a guest's instructions run. The names are QEMU's (`-accel`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Linux.
    Kvm,
    /// macOS: Hypervisor.framework.
    Hvf,
    /// Windows: Windows Hypervisor Platform.
    Whpx,
    /// Emulation, everywhere.
    Tcg,
}

impl Accelerator {
    /// QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Hvf => "hvf",
            Accelerator::Whpx => "whpx",
            Accelerator::Tcg => "tcg",
        }
    }

    /// Returns the accelerator with QEMU's name `name`.
    pub fn from_name(name: &str) -> Option<Accelerator> {
        [
            Accelerator::Kvm,
            Accelerator::Hvf,
            Accelerator::Whpx,
            Accelerator::Tcg,
        ]
        .into_iter()
        .find(|a| a.name() == name)
    }

    /// Returns the accelerator of this host's operating system, if it has one.
    pub fn of_host() -> Option<Accelerator> {
        match std::env::consts::OS {
            "linux" => Some(Accelerator::Kvm),
            "macos" => Some(Accelerator::Hvf),
            "windows" => Some(Accelerator::Whpx),
            _ => None,
        }
    }

    /// Returns whether the guest's instructions run on the processor itself.
    pub fn is_hardware(self) -> bool {
        self != Accelerator::Tcg
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
