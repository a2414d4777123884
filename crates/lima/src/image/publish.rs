//! Images built on this machine: moves complete ones into the cache, and finds them there.

use std::path::{Path, PathBuf};

use process::lock::FileLock;

use super::built::BuiltImage;
use super::cache::{Cache, read_json};
use super::error::ImageError;
use crate::layout;
use crate::progress::{Cancel, Progress, Silent};

const IMAGE_JSON: &str = "image.json";
const STAGE: &str = ".stage";
const OLD: &str = ".old";

/// The folder in which an image is built. Dropping the value removes it, unless it was published.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    _lock: FileLock,
}

impl Staged {
    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove {}; the next build removes it", self.path.display());
        }
    }
}

impl Cache {
    fn built_dir(&self) -> PathBuf {
        self.dir.join("built")
    }

    /// Makes an empty folder for building image `name`, on the file system of the cache. A second build of the same name waits.
    /// The folder of a killed build is removed.
    ///
    /// # Errors
    /// The folder cannot be made, or the wait was cancelled.
    pub fn stage_built(
        &self,
        name: &str,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Staged, ImageError> {
        check_name(name)?;
        process::file::create_private_dir(&self.built_dir())?;
        let subject = format!("the build of image {name}");
        let lock = self.lock(&format!("build-{name}"), &subject, progress, cancel, || {
            (0, None)
        })?;
        let path = self.built_dir().join(format!(".{name}{STAGE}"));
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(ImageError::io("remove", &path))?;
        }
        process::file::create_private_dir(&path)?;
        Ok(Staged { path, _lock: lock })
    }

    /// Makes the folder of a finished build, with its `image.json`, the image `name`. Replaces an older image of that name; VMs
    /// made from it keep their links to its files.
    ///
    /// # Errors
    /// [`ImageError::BrokenBuild`] if `image.json` does not describe the files. The older image then stays.
    pub fn publish_built(&self, name: &str, staged: &Path) -> Result<BuiltImage, ImageError> {
        check_name(name)?;
        let image = read_image(name, staged)?;
        for file in files(&image) {
            let path = staged.join(file);
            let handle = std::fs::File::open(&path).map_err(ImageError::io("open", &path))?;
            handle.sync_all().map_err(ImageError::io("write", &path))?;
        }
        process::file::sync_folder(staged)?;
        let (_lock, target) = self.lock_built(name, &Silent, &Cancel::new())?;
        let old = self.old_of(name);
        if target.exists() {
            std::fs::rename(&target, &old).map_err(ImageError::io("move aside", &target))?;
        }
        process::crash::point("image.after-old-moved");
        std::fs::rename(staged, &target).map_err(ImageError::io("rename", staged))?;
        process::file::sync_folder(&self.built_dir())?;
        process::crash::point("image.after-published");
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(ImageError::io("remove", &old))?;
        }
        Ok(image)
    }

    /// Returns the description of a built image.
    ///
    /// # Errors
    /// [`ImageError::NotBuilt`] with the command that builds it.
    pub fn built(&self, name: &str) -> Result<BuiltImage, ImageError> {
        Ok(self.open_built(name, &Silent, &Cancel::new())?.0)
    }

    /// Returns the image, its folder, and the lock that protects the folder.
    pub(crate) fn open_built(
        &self,
        name: &str,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(BuiltImage, PathBuf, FileLock), ImageError> {
        check_name(name)?;
        if !self.built_dir().is_dir() {
            return Err(ImageError::NotBuilt {
                name: name.to_owned(),
            });
        }
        let (lock, folder) = self.lock_built(name, progress, cancel)?;
        if !folder.exists() {
            return Err(ImageError::NotBuilt {
                name: name.to_owned(),
            });
        }
        let image = read_image(name, &folder)?;
        Ok((image, folder, lock))
    }

    /// Takes the lock of an image and completes an interrupted [`Cache::publish_built`].
    pub(super) fn lock_built(
        &self,
        name: &str,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(FileLock, PathBuf), ImageError> {
        process::file::create_private_dir(&self.built_dir())?;
        let subject = format!("image {name}");
        let lock = self.lock(&format!("built-{name}"), &subject, progress, cancel, || {
            (0, None)
        })?;
        let (target, old) = (self.built_dir().join(name), self.old_of(name));
        if old.exists() {
            if target.exists() {
                std::fs::remove_dir_all(&old).map_err(ImageError::io("remove", &old))?;
            } else {
                std::fs::rename(&old, &target).map_err(ImageError::io("move back", &old))?;
            }
        }
        Ok((lock, target))
    }

    fn old_of(&self, name: &str) -> PathBuf {
        self.built_dir().join(format!(".{name}{OLD}"))
    }

    /// Returns the names of the images built on this machine.
    pub(super) fn built_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.built_dir()) else {
            return Vec::new();
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            // During its replacement an image has its name with a suffix.
            .map(|name| {
                name.strip_prefix('.')
                    .and_then(|n| n.strip_suffix(OLD))
                    .map(str::to_owned)
                    .unwrap_or(name)
            })
            .filter(|name| layout::validate_name(name).is_ok())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn check_name(name: &str) -> Result<(), ImageError> {
    super::Source::parse(&format!("image://{name}"))?;
    Ok(())
}

fn files(image: &BuiltImage) -> impl Iterator<Item = &str> {
    let kernel = image.kernel.as_ref().map(|kernel| kernel.file.as_str());
    let initrd = image.initrd.as_ref().map(|initrd| initrd.file.as_str());
    [Some(image.disk.file.as_str()), kernel, initrd]
        .into_iter()
        .flatten()
}

fn read_image(name: &str, folder: &Path) -> Result<BuiltImage, ImageError> {
    let broken = |reason: String| ImageError::BrokenBuild {
        name: name.to_owned(),
        path: folder.to_owned(),
        reason,
    };
    let path = folder.join(IMAGE_JSON);
    if !path.is_file() {
        return Err(broken(format!("it has no {IMAGE_JSON}")));
    }
    let image: BuiltImage = read_json(&path)
        .ok_or_else(|| broken(format!("{IMAGE_JSON} does not describe an image")))?;
    if image.name != name {
        return Err(broken(format!("{IMAGE_JSON} calls it {:?}", image.name)));
    }
    for file in files(&image) {
        // A name that comes from a file must not lead out of the folder.
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
            return Err(broken(format!("{file:?} is not the name of a file in it")));
        }
        if !folder.join(file).is_file() {
            return Err(broken(format!("it has no file {file:?}")));
        }
    }
    Ok(image)
}

/// Returns the space that a file uses, in bytes. For a disk image with holes it is less than the length.
pub(super) fn taken(meta: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        /// The unit of `st_blocks`, independent of the file system's block size.
        const BLOCK: u64 = 512;
        std::os::unix::fs::MetadataExt::blocks(meta) * BLOCK
    }
    #[cfg(not(unix))]
    {
        meta.len()
    }
}
