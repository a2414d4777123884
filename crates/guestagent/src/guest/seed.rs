//! Finds the cidata disk and copies what is on it into memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use guestagent::cidata::{Settings, Sources, VOLUME_LABEL};
use guestagent::iso9660::{IsoError, Volume};

use super::netlink::Uevents;
use super::{RUN_DIR, files};

/// Disks are found before the root file system is mounted, unless they are on a bus whose driver is a module.
const DISK_WAIT: Duration = Duration::from_secs(3);
/// All files of the disk together: it is copied to memory, and a Lima disk may carry a guest agent of 40 MiB that we
/// have no use for.
const TOTAL_LIMIT: usize = 8 << 20;

/// The disk's content.
pub(crate) struct Seed {
    pub(crate) settings: Settings,
    /// Where the files are now.
    pub(crate) folder: PathBuf,
    /// Paths below the folder, sorted.
    pub(crate) paths: Vec<String>,
}

/// Reads the disk; `None` when there is none.
pub(crate) fn read() -> Result<Option<Seed>, IsoError> {
    let Some(mut volume) = find() else {
        return Ok(None);
    };
    let folder = Path::new(RUN_DIR).join("cidata");
    // Of an earlier agent in the same boot.
    let _ = fs::remove_dir_all(&folder);
    let mut paths = Vec::new();
    let mut total = 0_usize;
    for file in volume.files()? {
        if total + file.size as usize > TOTAL_LIMIT {
            continue;
        }
        total += file.size as usize;
        let bytes = volume.read(&file)?;
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // 0700: scripts are executed from here, by root.
        files::replace(&path, &bytes, 0o700, None)?;
        paths.push(file.path);
    }
    let text = |name: &str| files::text(folder.join(name));
    let settings = Settings::parse(&Sources {
        lima_env: &text("lima.env"),
        param_env: &text("param.env"),
        meta_data: &text("meta-data"),
        ssh_authorized_keys: &text("ssh_authorized_keys"),
        user_data: &text("user-data"),
    });
    Ok(Some(Seed {
        settings,
        folder,
        paths,
    }))
}

fn find() -> Option<Volume<File>> {
    let look = || {
        let mut names: Vec<String> = fs::read_dir("/sys/class/block")
            .ok()?
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names.into_iter().find_map(|name| {
            let volume = Volume::open(File::open(Path::new("/dev").join(&name)).ok()?).ok()?;
            volume
                .label
                .eq_ignore_ascii_case(VOLUME_LABEL)
                .then_some(volume)
        })
    };
    match Uevents::open() {
        Ok(events) => events.wait_for(DISK_WAIT, look),
        Err(_) => look(),
    }
}
