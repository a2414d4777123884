//! Instance folders as they are: read, listed, given another template.

use serde::{Deserialize, Serialize};

use super::disk;
use super::error::InstanceError;
use crate::image::{DiskFormat, RootBus};
use crate::layout::{self, InstanceDir, LimaHome};
use crate::template::{Arch, Template};

/// `image.json` of an instance: what its driver should know about its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootHints {
    /// Where the image is from.
    pub location: String,
    /// The guest's architecture.
    pub arch: Arch,
    /// The format of `basedisk`.
    pub disk_format: DiskFormat,
    /// The bus of the root disk.
    #[serde(default)]
    pub root_bus: RootBus,
    /// QEMU's firmware file to boot the kernel with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
}

/// An instance folder that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Where it is.
    pub dir: InstanceDir,
    /// Its template, resolved.
    pub template: Template,
    /// What is known about its image.
    pub hints: BootHints,
}

/// Reads an instance folder.
///
/// # Errors
/// [`InstanceError::Missing`] when there is none; what is damaged is named.
pub fn load(dir: &InstanceDir) -> Result<Instance, InstanceError> {
    let path = dir.lima_yaml();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(InstanceError::Missing {
                path: dir.path().to_owned(),
            });
        }
        Err(error) => return Err(InstanceError::io("read", &path)(error)),
    };
    let parsed =
        Template::parse(&text).map_err(|source| InstanceError::Template { path, source })?;
    let path = dir.image_json();
    let bytes = std::fs::read(&path).map_err(InstanceError::io("read", &path))?;
    let hints = serde_json::from_slice(&bytes)
        .map_err(|error| InstanceError::io("read", &path)(error.into()))?;
    Ok(Instance {
        dir: dir.clone(),
        template: parsed.template,
        hints,
    })
}

/// The instances of a Lima home by name, broken ones included. A home that does not exist has none.
///
/// # Errors
/// The folder cannot be read.
pub fn list(home: &LimaHome) -> Result<Vec<InstanceDir>, InstanceError> {
    let entries = match std::fs::read_dir(&home.root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(InstanceError::io("read", &home.root)(error)),
    };
    let mut found: Vec<InstanceDir> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| layout::validate_name(name).is_ok())
        .filter_map(|name| home.instance(&name).ok())
        .collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(found)
}

/// Gives a stopped instance another template. The disk grows when the template says so, and never shrinks.
///
/// # Errors
/// The folder is not an instance's, or the disk is in use by a running VM; then nothing has changed.
pub fn update_template(dir: &InstanceDir, template: &Template) -> Result<(), InstanceError> {
    if !dir.lima_yaml().is_file() {
        return Err(InstanceError::Missing {
            path: dir.path().to_owned(),
        });
    }
    if let Some(size) = template.disk
        && disk::virtual_size(&dir.diff_disk())? < size.0
    {
        disk::grow(&dir.diff_disk(), size)?;
    }
    write_template(dir, template)
}

/// Writes `lima.yaml`.
pub(super) fn write_template(dir: &InstanceDir, template: &Template) -> Result<(), InstanceError> {
    let text = format!(
        "# Written by rdd: the template with its defaults filled in. To change it, use: rdd limavm edit {}\n{}",
        dir.name(),
        template.to_yaml()?
    );
    Ok(process::file::write_atomic(
        &dir.lima_yaml(),
        text.as_bytes(),
        0o600,
    )?)
}
