//! What the next hostagent of the same VM should know, so that adopting a VM does not look like a boot.
//!
//! A file in the instance folder; it holds for one process of QEMU only and is forgotten with it.

use lima::layout::InstanceDir;
use process::Identity;
use process::file::write_atomic;
use serde::{Deserialize, Serialize};

use crate::status::Stage;

/// A few hundred bytes; more is not ours.
const LIMIT: u64 = 64 * 1024;

/// What is known about the guest of one QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// For which QEMU it holds.
    pub(crate) qemu: Identity,
    /// How often the guest started in it.
    pub(crate) boot_count: u32,
    /// When the user could log in first since the guest started, in seconds since 1970.
    pub(crate) ready_at: Option<u64>,
    /// The guest kernel's boot id, when its agent told.
    pub(crate) boot_id: Option<String>,
    /// How long its start took.
    #[serde(default)]
    pub(crate) stages: Vec<Stage>,
}

impl Memory {
    /// What an earlier hostagent knew about the guest of `qemu`.
    pub(crate) fn read(dir: &InstanceDir, qemu: &Identity) -> Option<Memory> {
        let path = path(dir);
        if std::fs::metadata(&path).ok()?.len() > LIMIT {
            return None;
        }
        let memory: Memory = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        (memory.qemu == *qemu).then_some(memory)
    }

    /// Keeps it. Without it an adopted VM is only told to be `Booting` until somebody logs in.
    pub(crate) fn write(&self, dir: &InstanceDir) {
        let written = serde_json::to_vec(self)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                write_atomic(&path(dir), &bytes, 0o600).map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            tracing::warn!(%error, "the next hostagent will not know that this VM was up");
        }
    }
}

fn path(dir: &InstanceDir) -> std::path::PathBuf {
    dir.path().join("ha.json")
}
