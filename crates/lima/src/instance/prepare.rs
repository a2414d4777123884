//! Prepares an instance folder under another name and then renames it (hazard 23).
//!
//! ```text
//! lock ─ remove an old .NAME.tmp/ ─ .NAME.tmp/ ─ basedisk ─ kernel, initrd ─ diffdisk ─ lima.yaml ─ rename to NAME/
//! ```

use std::path::{Path, PathBuf};

use super::disk;
use super::error::InstanceError;
use super::folder::{BootHints, write_template};
use super::stale;
use crate::image::{BuiltImage, Cache, Digest, DiskFormat, ImageError, RootBus, Source};
use crate::layout::{InstanceDir, LIMA_VERSION, LimaHome};
use crate::progress::{Cancel, Phase, Progress};
use crate::template::{ByteSize, Image, Template};

/// Makes the folder of instance `name` from a template with defaults filled in ([`Template::fill_defaults`]). After an error or
/// a crash at any moment the folder is complete or missing.
///
/// # Errors
/// [`InstanceError`]. The same call works once the cause is removed.
pub fn prepare(
    home: &LimaHome,
    name: &str,
    template: &Template,
    cache: &Cache,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<InstanceDir, InstanceError> {
    let target = home.instance(name)?;
    home.check_socket_paths(name)?;
    template.validate()?;
    process::file::create_private_dir(&home.root)?;
    let _lock = stale::lock(home, name)?;
    if target.path().exists() {
        return Err(InstanceError::Exists {
            name: name.to_owned(),
            path: target.path().to_owned(),
        });
    }
    let folder = Temporary::create(stale::temporary(home, name))?;
    let work = InstanceDir::at(&folder.path, name);
    process::crash::point("prepare.after-folder");
    let hints = take_image(&work, template, cache, progress, cancel)?;
    process::crash::point("prepare.after-image");
    let info = disk::inspect(&work.base_disk(), &hints.location)?;
    let hints = BootHints {
        disk_format: info.format,
        ..hints
    };
    let size = disk_size(template, info.virtual_size, progress);
    progress.report(Phase::CreatingDisk, name, 0, Some(size.0));
    disk::create_overlay(work.path(), "diffdisk", "basedisk", info.format, size)?;
    private(&work.diff_disk())?;
    process::crash::point("prepare.after-disk");
    let json = serde_json::to_vec_pretty(&hints)
        .map_err(|e| InstanceError::io("write", &work.image_json())(e.into()))?;
    process::file::write_atomic(&work.image_json(), &json, 0o600)?;
    process::file::write_atomic(&work.lima_version(), LIMA_VERSION.as_bytes(), 0o600)?;
    write_template(&work, template)?;
    process::crash::point("prepare.after-files");
    if cancel.is_cancelled() {
        return Err(ImageError::Cancelled {
            subject: format!("instance {name}"),
        }
        .into());
    }
    process::file::sync_folder(work.path())?;
    process::file::rename_folder(work.path(), target.path())
        .map_err(InstanceError::io("rename", work.path()))?;
    process::crash::point("prepare.after-rename");
    process::file::sync_folder(&home.root)?;
    progress.report(Phase::CreatingDisk, name, size.0, Some(size.0));
    Ok(target)
}

/// Takes the first image of the template that can be provided.
fn take_image(
    work: &InstanceDir,
    template: &Template,
    cache: &Cache,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BootHints, InstanceError> {
    let no_image = |arch: String| {
        let offered: Vec<&str> = template
            .images
            .iter()
            .filter_map(|image| image.arch)
            .map(|a| a.as_str())
            .collect();
        InstanceError::NoImage {
            arch,
            offered: if offered.is_empty() {
                "none".to_owned()
            } else {
                offered.join(", ")
            },
        }
    };
    let Some(arch) = template.arch else {
        return Err(no_image("of an unknown machine".to_owned()));
    };
    let mut failures = Vec::new();
    let mut found = false;
    for (index, image) in template.images_for(arch) {
        found = true;
        let result = match Source::parse(&image.location) {
            Ok(Source::Built(name)) => {
                take_built(work, image, &name, template, cache, progress, cancel)
            }
            Ok(_) => take_files(work, image, template, cache, progress, cancel),
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(hints) => return Ok(hints),
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => failures.push((format!("images[{index}]"), error)),
        }
        // Files of the failed image must not be mixed with those of the next one.
        for path in [
            work.base_disk(),
            work.kernel(),
            work.kernel_cmdline(),
            work.initrd(),
        ] {
            process::file::remove_if_there(&path)?;
        }
    }
    if !found {
        return Err(no_image(arch.to_string()));
    }
    Err(InstanceError::Images(failures))
}

/// Takes an image from a URL or a file, with the kernel that the template names.
fn take_files(
    work: &InstanceDir,
    image: &Image,
    template: &Template,
    cache: &Cache,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BootHints, ImageError> {
    take(
        cache,
        &image.location,
        image.digest.as_deref(),
        &work.base_disk(),
        Some(unpacked_limit(template)),
        progress,
        cancel,
    )?;
    take_kernel(work, image, cache, progress, cancel)?;
    Ok(hints(image, template, RootBus::default(), None))
}

/// The kernel and RAM disk that a template names.
fn take_kernel(
    work: &InstanceDir,
    image: &Image,
    cache: &Cache,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let Some(kernel) = &image.kernel else {
        return Ok(());
    };
    take(
        cache,
        &kernel.location,
        kernel.digest.as_deref(),
        &work.kernel(),
        None,
        progress,
        cancel,
    )?;
    if let Some(cmdline) = &kernel.cmdline {
        process::file::write_atomic(&work.kernel_cmdline(), cmdline.as_bytes(), 0o600)?;
    }
    if let Some(initrd) = &image.initrd {
        take(
            cache,
            &initrd.location,
            initrd.digest.as_deref(),
            &work.initrd(),
            None,
            progress,
            cancel,
        )?;
    }
    Ok(())
}

/// Takes an image built on this machine. Its lock is held until all files are taken, so that they belong together.
fn take_built(
    work: &InstanceDir,
    image: &Image,
    name: &str,
    template: &Template,
    cache: &Cache,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BootHints, ImageError> {
    let (built, folder, _lock) = cache.open_built(name, progress, cancel)?;
    check_built(&built, name, image, template)?;
    let link = |file: &str, to: &Path| -> Result<(), ImageError> {
        cache
            .own_file(folder.join(file))
            .place(to, None, progress, cancel)
    };
    link(&built.disk.file, &work.base_disk())?;
    if image.kernel.is_some() {
        // The template's kernel overrides the image's.
        take_kernel(work, image, cache, progress, cancel)?;
        return Ok(hints(image, template, built.root_bus, None));
    }
    if let Some(kernel) = &built.kernel {
        link(&kernel.file, &work.kernel())?;
        process::file::write_atomic(&work.kernel_cmdline(), kernel.cmdline.as_bytes(), 0o600)?;
    }
    if let Some(initrd) = &built.initrd {
        link(&initrd.file, &work.initrd())?;
    }
    Ok(hints(image, template, built.root_bus, built.firmware))
}

fn check_built(
    built: &BuiltImage,
    name: &str,
    image: &Image,
    template: &Template,
) -> Result<(), ImageError> {
    let wanted = image.arch.or(template.arch);
    if let Some(digest) = image.digest.as_deref().filter(|digest| !digest.is_empty()) {
        let expected: Digest = digest.parse()?;
        let found: Digest = format!("sha256:{}", built.disk.sha256).parse()?;
        if expected != found {
            return Err(ImageError::WrongDigest {
                subject: format!("image://{name}"),
                expected,
                found,
                removed: "",
            });
        }
    }
    match wanted {
        Some(wanted) if wanted != built.arch => Err(ImageError::WrongArch {
            name: name.to_owned(),
            found: built.arch,
            wanted,
        }),
        _ => Ok(()),
    }
}

fn hints(
    image: &Image,
    template: &Template,
    root_bus: RootBus,
    firmware: Option<String>,
) -> BootHints {
    BootHints {
        location: image.location.clone(),
        arch: image
            .arch
            .or(template.arch)
            .unwrap_or(crate::template::Arch::X86_64),
        // Replaced once the disk has been inspected.
        disk_format: DiskFormat::Raw,
        root_bus,
        firmware,
    }
}

fn take(
    cache: &Cache,
    location: &str,
    digest: Option<&str>,
    to: &Path,
    unpack: Option<u64>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let digest: Option<Digest> = digest
        .filter(|digest| !digest.is_empty())
        .map(str::parse)
        .transpose()?;
    cache
        .fetch(location, digest.as_ref(), progress, cancel)?
        .place(to, unpack, progress, cancel)
}

/// Returns what a packed image may unpack to: the size of the template's disk, and at least Lima's default, within which
/// published images are. A larger disk in the template confirms a larger image.
fn unpacked_limit(template: &Template) -> u64 {
    const DEFAULT: ByteSize = ByteSize::gib(100);
    template.disk.map_or(DEFAULT, |disk| disk.max(DEFAULT)).0
}

/// Returns the template's size, or the image's if that is larger, because a smaller disk would destroy the image.
fn disk_size(template: &Template, image: u64, progress: &dyn Progress) -> ByteSize {
    let image = ByteSize(image);
    match template.disk {
        Some(size) if size >= image => size,
        Some(size) => {
            progress.warn(&format!(
                "disk: {size} is less than the image's {image}; the disk gets {image}"
            ));
            image
        }
        None => image,
    }
}

#[cfg(unix)]
fn private(path: &Path) -> Result<(), InstanceError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(InstanceError::io("protect", path))
}

#[cfg(not(unix))]
fn private(_: &Path) -> Result<(), InstanceError> {
    Ok(())
}

/// The folder of a preparation. Dropping the value removes the folder, which no longer exists after the rename.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(path: PathBuf) -> Result<Self, InstanceError> {
        // Left by a killed preparation. This process holds the lock, so no other process uses the folder.
        if let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(InstanceError::io("remove", &path)(error));
        }
        process::file::create_private_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove {}; the next preparation removes it", self.path.display());
        }
    }
}
