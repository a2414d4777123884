//! Finds the cidata disk and copies its files into memory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guestagent::cidata::{Settings, Sources, VOLUME_LABEL};
use guestagent::iso9660::{IsoError, Volume};

use super::netlink::Uevents;
use super::{RUN_DIR, files};

/// How long to wait for the disk. The kernel finds disks before it mounts the root, except on a bus whose driver is a module.
const DISK_WAIT: Duration = Duration::from_secs(3);
/// The limit of all copied files together, in bytes. A disk of Lima's may contain a guest agent of 40 MiB, which is not
/// needed here.
const TOTAL_LIMIT: usize = 8 << 20;

/// The content of the disk.
pub(crate) struct Seed {
    pub(crate) settings: Settings,
    /// The folder of the copies.
    pub(crate) folder: PathBuf,
    /// The paths below the folder, sorted.
    pub(crate) paths: Vec<String>,
}

/// Copies the disk. Returns `None` if there is none.
pub(crate) fn read() -> Result<Option<Seed>, IsoError> {
    let Some(mut volume) = find() else {
        return Ok(None);
    };
    let folder = Path::new(RUN_DIR).join("cidata");
    // Left by an earlier agent of the same boot.
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
        // Mode 0700, because root executes scripts from here.
        files::replace(&path, &bytes, 0o700, None)?;
        paths.push(file.path);
    }
    let text = |name: &str| files::text(folder.join(name));
    let settings = Settings::parse(&Sources {
        lima_env: &text("lima.env"),
        param_env: &text("param.env"),
        etc_environment: &text("etc_environment"),
        etc_hosts: &text("etc_hosts"),
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

impl Seed {
    /// Makes `LIMA_CIDATA_UID` the id that the user got, which differs from the requested one if that was taken.
    ///
    /// # Errors
    /// The copy of `lima.env` cannot be written.
    pub(crate) fn set_uid(&mut self, uid: u32) -> io::Result<()> {
        const NAME: &str = "LIMA_CIDATA_UID";
        let new = uid.to_string();
        let mut changed = false;
        for (key, value) in &mut self.settings.environment {
            if key == NAME && *value != new {
                value.clone_from(&new);
                changed = true;
            }
        }
        if !changed {
            return Ok(());
        }
        // Scripts may read the file instead of their environment.
        let path = self.folder.join("lima.env");
        let text: String = files::text(&path)
            .lines()
            .map(|line| match line.split_once('=') {
                Some((NAME, _)) => format!("{NAME}={new}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        files::replace(&path, text.as_bytes(), 0o700, None)
    }
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
