//! Disks, made by qemu-img.

use std::path::Path;
use std::time::Duration;

use process::command::{CommandError, Run};
use process::spawn::SpawnError;
use serde::Deserialize;

use super::error::InstanceError;
use crate::image::DiskFormat;
use crate::template::ByteSize;

/// The limit of a run of qemu-img, which reads or writes a few hundred kilobytes.
const LIMIT: Duration = Duration::from_secs(60);

/// The properties of an image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) format: DiskFormat,
    pub(super) virtual_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawInfo {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    format_specific: Option<FormatSpecific>,
}

#[derive(Deserialize)]
struct FormatSpecific {
    #[serde(default)]
    data: serde_json::Value,
}

/// Reads the properties of an untrusted image. Refuses images that would make QEMU read other files of the host.
pub(super) fn inspect(path: &Path, location: &str) -> Result<Info, InstanceError> {
    let bad = |reason: String| InstanceError::BadImage {
        location: location.to_owned(),
        reason,
    };
    // `file:` keeps a name with a colon from being read as a protocol.
    let mut name = std::ffi::OsString::from("file:");
    name.push(path);
    let output = run(
        "look at the image",
        Run::new("qemu-img", LIMIT)
            .args(["info", "--output=json"])
            .arg(name),
    )?;
    let info: RawInfo = serde_json::from_slice(&output).map_err(|error| {
        bad(format!(
            "qemu-img describes it in an unknown format: {error}"
        ))
    })?;
    if let Some(backing) = info.backing_filename {
        return Err(bad(format!(
            "it needs another file, {backing:?}, of the machine where it was made"
        )));
    }
    let data_file = info
        .format_specific
        .as_ref()
        .and_then(|specific| specific.data.get("data-file"));
    if let Some(data_file) = data_file {
        return Err(bad(format!(
            "it keeps its data in another file, {data_file}"
        )));
    }
    let format = match info.format.as_str() {
        "qcow2" => DiskFormat::Qcow2,
        "raw" => DiskFormat::Raw,
        other => {
            return Err(bad(format!(
                "its format is {other}; qcow2 and raw can be used"
            )));
        }
    };
    if format == DiskFormat::Raw && is_iso(path)? {
        return Err(bad(
            "it is a CD image, which cannot be started from yet".to_owned()
        ));
    }
    if info.virtual_size == 0 {
        return Err(bad("it is empty".to_owned()));
    }
    Ok(Info {
        format,
        virtual_size: info.virtual_size,
    })
}

/// Whether a file is an ISO 9660 image, whose mark is in sector 16.
fn is_iso(path: &Path) -> Result<bool, InstanceError> {
    use std::io::{Read, Seek, SeekFrom};
    const MARK_AT: u64 = 16 * 2048 + 1;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(MARK_AT))?;
        let mut mark = Vec::new();
        file.take(5).read_to_end(&mut mark)?;
        Ok(mark)
    };
    Ok(read().map_err(InstanceError::io("read", path))? == b"CD001")
}

/// Makes `overlay` in `folder`, on `base` in the same folder. The overlay contains the name of the base without the folder, so
/// the folder can be renamed and moved.
pub(super) fn create_overlay(
    folder: &Path,
    overlay: &str,
    base: &str,
    format: DiskFormat,
    size: ByteSize,
) -> Result<(), InstanceError> {
    let run_it = Run::new("qemu-img", LIMIT)
        .args([
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            format.as_str(),
            "-b",
            base,
            overlay,
        ])
        .arg(size.0.to_string())
        .cwd(folder);
    run("make the disk", run_it)?;
    Ok(())
}

/// Returns the size of an instance's disk, as the guest sees it. Reads the header of the qcow2 file (QEMU's
/// `docs/interop/qcow2.txt`), because qemu-img would need a process.
pub(super) fn virtual_size(path: &Path) -> Result<u64, InstanceError> {
    use std::io::Read;
    const MAGIC: &[u8] = b"QFI\xfb";
    const SIZE_AT: usize = 24;
    let mut header = [0_u8; SIZE_AT + 8];
    let mut file = std::fs::File::open(path).map_err(InstanceError::io("open", path))?;
    file.read_exact(&mut header)
        .map_err(InstanceError::io("read", path))?;
    if !header.starts_with(MAGIC) {
        return Err(InstanceError::BadImage {
            location: path.display().to_string(),
            reason: "it is not a qcow2 file".to_owned(),
        });
    }
    let mut size = [0_u8; 8];
    size.copy_from_slice(&header[SIZE_AT..]);
    Ok(u64::from_be_bytes(size))
}

/// Makes an instance's disk larger. Fails while a VM uses it, because QEMU holds its lock.
pub(super) fn grow(path: &Path, size: ByteSize) -> Result<(), InstanceError> {
    let run_it = Run::new("qemu-img", LIMIT)
        .args(["resize", "-q", "-f", "qcow2", "--"])
        .arg(path)
        .arg(size.0.to_string());
    run("make the disk larger", run_it)?;
    Ok(())
}

fn run(action: &str, run: Run) -> Result<Vec<u8>, InstanceError> {
    match run.run() {
        Ok(output) => Ok(output.stdout),
        Err(CommandError::Spawn(SpawnError::NotFound { .. })) => Err(InstanceError::NoQemuImg),
        Err(source) => Err(InstanceError::QemuImg {
            action: action.to_owned(),
            source: Box::new(source),
        }),
    }
}
