//! What the next hostagent of the same VM needs to know, so that adopting the VM does not look like a boot.
//!
//! A file in the instance folder, valid for one process of the VM only.

use lima::layout::InstanceDir;
use process::Identity;
use process::file::write_atomic;
use serde::{Deserialize, Serialize};

use crate::status::Stage;

/// The file has a few hundred bytes. A longer one was not written by a hostagent.
const LIMIT: u64 = 64 * 1024;

/// What is known about the guest of one VM process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The VM's process for which the rest is valid.
    pub(crate) qemu: Identity,
    /// How often the guest booted in it.
    pub(crate) boot_count: u32,
    /// When the first login since the guest's boot worked, in seconds since 1970.
    pub(crate) ready_at: Option<u64>,
    /// The guest kernel's boot id, if its agent reported it.
    pub(crate) boot_id: Option<String>,
    /// The stages of its start.
    #[serde(default)]
    pub(crate) stages: Vec<Stage>,
}

impl Memory {
    /// Reads what an earlier hostagent knew about the guest of the process `qemu`.
    pub(crate) fn read(dir: &InstanceDir, qemu: &Identity) -> Option<Memory> {
        let path = path(dir);
        if std::fs::metadata(&path).ok()?.len() > LIMIT {
            return None;
        }
        let memory: Memory = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        (memory.qemu == *qemu).then_some(memory)
    }

    /// Writes the file. Best effort: without it an adopted VM is `Booting` until the next login works.
    pub(crate) fn write(&self, dir: &InstanceDir) {
        let written = serde_json::to_vec(self)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                write_atomic(&path(dir), &bytes, 0o600).map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            tracing::warn!(%error, "cannot write ha.json; the next hostagent will not know that this VM was running");
        }
    }
}

fn path(dir: &InstanceDir) -> std::path::PathBuf {
    dir.path().join("ha.json")
}
