//! Reads and lists instance folders, and replaces their templates.

use serde::{Deserialize, Serialize};

use super::disk;
use super::error::InstanceError;
use crate::image::{DiskFormat, RootBus};
use crate::layout::{self, InstanceDir, LimaHome};
use crate::template::{Arch, ByteSize, Template};

/// `image.json` of an instance: what the driver needs to know about the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootHints {
    /// The location of the image.
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

/// The content of an instance folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The folder.
    pub dir: InstanceDir,
    /// The template with defaults filled in.
    pub template: Template,
    /// The properties of the image.
    pub hints: BootHints,
}

/// Reads an instance folder.
///
/// # Errors
/// [`InstanceError::Missing`] without `lima.yaml`, or a file is damaged.
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

/// Returns the instances of a Lima home by name, with broken ones. A home that does not exist has none.
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

/// Checks that a template can replace that of an instance: its disk must not be smaller. An unchanged size is accepted, also
/// where the image has made the disk larger. A folder without instance accepts every template.
///
/// # Errors
/// [`InstanceError::DiskShrinks`], or the disk cannot be read.
pub fn check_change(dir: &InstanceDir, template: &Template) -> Result<(), InstanceError> {
    let Some(wanted) = template.disk.filter(|_| dir.lima_yaml().is_file()) else {
        return Ok(());
    };
    let actual = ByteSize(disk::virtual_size(&dir.diff_disk())?);
    if wanted >= actual || load(dir).is_ok_and(|now| now.template.disk == Some(wanted)) {
        return Ok(());
    }
    Err(InstanceError::DiskShrinks { wanted, actual })
}

/// Gives a stopped instance another template. Grows the disk if the template has a larger one.
///
/// # Errors
/// The folder is not an instance's, the new disk is smaller, or a running VM uses the disk. Then nothing has changed.
pub fn update_template(dir: &InstanceDir, template: &Template) -> Result<(), InstanceError> {
    if !dir.lima_yaml().is_file() {
        return Err(InstanceError::Missing {
            path: dir.path().to_owned(),
        });
    }
    check_change(dir, template)?;
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
