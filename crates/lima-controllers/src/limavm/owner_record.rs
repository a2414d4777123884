//! The record of a VM's object in its folder (`owner.json`): what is necessary to recreate the object when the database is
//! lost (hazard 48), and whose folder it is.

use std::io::ErrorKind;

use api::LimaVMSpec;
use lima::layout::InstanceDir;
use serde::{Deserialize, Serialize};

/// The file's name.
const FILE: &str = "owner.json";

/// The record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRecord {
    /// Identifies the control plane that the object was stored in; see [`crate::adopt::cluster`].
    #[serde(default)]
    pub cluster: Option<String>,
    /// The namespace of the object.
    pub namespace: String,
    /// The uid of the object.
    pub uid: String,
    /// The template, as the user wrote it.
    pub template: String,
    /// The spec of the object.
    pub spec: LimaVMSpec,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}", path.display())]
pub struct RecordError {
    action: &'static str,
    path: std::path::PathBuf,
    reason: String,
}

impl OwnerRecord {
    /// The record of this folder; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn read(dir: &InstanceDir) -> Result<Option<OwnerRecord>, RecordError> {
        let path = dir.path().join(FILE);
        let error = |reason: String| RecordError {
            action: "read",
            path: path.clone(),
            reason,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|reason| error(reason.to_string())),
            Err(reason) if reason.kind() == ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(error(reason.to_string())),
        }
    }

    /// Writes the record into the folder, unless it is there already.
    pub(crate) fn write_if_changed(&self, dir: &InstanceDir) -> Result<(), RecordError> {
        if OwnerRecord::read(dir).is_ok_and(|found| found.as_ref() == Some(self)) {
            return Ok(());
        }
        let path = dir.path().join(FILE);
        let result = serde_json::to_vec_pretty(self)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                process::file::write_atomic(&path, &bytes, 0o600).map_err(|error| error.to_string())
            });
        result.map_err(|reason| RecordError {
            action: "write",
            path,
            reason,
        })
    }
}
