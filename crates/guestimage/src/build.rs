//! Builds an image, from the first check to the image in the cache.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lima::image::{BuiltDisk, BuiltFile, BuiltImage, BuiltKernel, Cache, DiskFormat, RootBus};
use lima::progress::Cancel;
use lima::template::Arch;
use parking_lot::Mutex;
use process::command::{CommandError, Run};
use sha2::{Digest as _, Sha256};

use crate::error::BuildError;
use crate::fingerprint;
use crate::initrd;
use crate::kernel::{self, KernelError};
use crate::mirror::{self, Mirror};
use crate::overlay;
use crate::progress::{Progress, Step};
use crate::recipe::{self, RECIPES, Recipe};
use crate::steps::{
    FILE_STEP_LIMIT, OVERLAY_TAR, PACKAGES_LIMIT, RAW_DISK, ROOTFS, ROOTFS_TAR, Runner,
    mke2fs_arguments, mmdebstrap, mmdebstrap_arguments, reason, with_owners,
};
use crate::tools::{self, Privilege};
use crate::work_folder::WorkFolder;

/// The size of the image's file system, in bytes. Guests grow it to their larger disks; a small image allows small disks.
const DEFAULT_DISK_BYTES: u64 = 2 << 30;
/// `apt-config dump` only reads files.
const APT_CONFIG_LIMIT: Duration = Duration::from_secs(20);
/// The lines that mmdebstrap prints in an ordinary build, for progress.
const EXPECTED_LINES: f32 = 9.0;

/// The options of a build.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of a recipe, such as `debian-12`. The image gets the same name.
    pub distribution: String,
    /// The mirror. `None`: the one of the host's apt.
    pub mirror: Option<String>,
    /// The size of the image's disk in bytes.
    pub disk_bytes: u64,
    /// A folder with 2 GiB of free space that other users may traverse.
    pub work_parent: PathBuf,
    /// The folders of programs, as in PATH.
    pub search_path: OsString,
    /// The host's `/etc`, with apt's sources and the subordinate ids.
    pub etc: PathBuf,
}

impl Options {
    /// Returns the options of a build with the defaults of this host.
    pub fn new(distribution: impl Into<String>) -> Self {
        Self {
            distribution: distribution.into(),
            mirror: None,
            disk_bytes: DEFAULT_DISK_BYTES,
            work_parent: PathBuf::from("/var/tmp"),
            search_path: tools::default_search_path(),
            etc: PathBuf::from("/etc"),
        }
    }
}

/// Builds an image into the cache. If another process is building the same image, waits for it and returns its result.
///
/// # Errors
/// [`BuildError`]. Partial results are removed, and an older image of that name stays.
pub fn build(
    options: &Options,
    cache: &Cache,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<BuiltImage, BuildError> {
    let recipe = recipe(options)?;
    let unsupported = || BuildError::UnsupportedArchitecture {
        name: recipe.name,
        arch: std::env::consts::ARCH,
    };
    let arch = Arch::of_this_build().ok_or_else(unsupported)?;
    let debian_arch = recipe::debian_arch(arch).ok_or_else(unsupported)?;
    if overlay::GUEST_AGENT.is_empty() {
        return Err(BuildError::NoAgent);
    }
    let privilege = privilege(options)?;
    tools::check(&options.search_path, Path::new(recipe.keyring), privilege)?;
    let mirror = match &options.mirror {
        Some(url) => Mirror::named(url)?,
        None => Mirror::of_host(&options.etc.join("apt"), recipe)?,
    };

    let before = cache.built(recipe.name).ok();
    let stage = cache.stage_built(recipe.name, &Waiting(progress), cancel)?;
    if let Ok(image) = cache.built(recipe.name)
        && before.is_none_or(|before| before.created != image.created)
    {
        return Ok(image);
    }
    let work = WorkFolder::create(&options.work_parent, privilege)?;
    let build = Build {
        options,
        recipe,
        arch,
        debian_arch,
        privilege,
        mirror,
        work: &work,
        progress,
        cancel,
    };
    build.install_packages()?;
    build.unpack()?;
    let kernel = build.kernel(stage.path())?;
    build.make_disk(&stage.path().join(DISK))?;
    build.publish(stage.path(), &kernel, cache)
}

/// Returns the recipe that the options name.
pub(crate) fn recipe(options: &Options) -> Result<&'static Recipe, BuildError> {
    recipe::find(&options.distribution).ok_or_else(|| BuildError::UnknownDistribution {
        name: options.distribution.clone(),
        known: RECIPES
            .iter()
            .map(|recipe| recipe.name)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// The names of files in the image's folder.
const DISK: &str = "disk.qcow2";
const INITRD: &str = "initrd";
const VMLINUX: &str = "vmlinux";
const VMLINUZ: &str = "vmlinuz";

struct Build<'a> {
    options: &'a Options,
    recipe: &'a Recipe,
    arch: Arch,
    debian_arch: &'static str,
    privilege: Privilege,
    mirror: Mirror,
    work: &'a WorkFolder,
    progress: &'a Arc<dyn Progress>,
    cancel: &'a Cancel,
}

/// The kernel file that will be booted.
struct Kernel {
    file: &'static str,
    version: String,
    has_pvh: bool,
}

impl Build<'_> {
    fn runner(&self) -> Runner<'_> {
        Runner {
            folder: self.work.path(),
            search_path: &self.options.search_path,
            cancel: self.cancel,
        }
    }

    fn step(&self, step: Step) {
        self.progress.report(step, "", step.share());
    }

    fn install_packages(&self) -> Result<(), BuildError> {
        self.step(Step::Packages);
        let overlay = overlay::archive(self.recipe, &self.mirror.for_guest(), overlay::GUEST_AGENT);
        let path = self.work.path().join(OVERLAY_TAR);
        let overlay = overlay.map_err(BuildError::io("make", &path))?;
        fs::write(&path, overlay).map_err(BuildError::io("write", &path))?;
        let apt_options = self.apt_options();
        let arguments =
            mmdebstrap_arguments(self.recipe, self.debian_arch, &self.mirror, &apt_options);
        let words = mmdebstrap(self.privilege, self.work.path(), arguments);
        let progress = Arc::clone(self.progress);
        let seen = Mutex::new(0.0_f32);
        let share = Step::FileSystem.share();
        let line = move |line: &str| {
            // mmdebstrap's own lines are like `I: installing essential packages...`; apt and dpkg print on errors only.
            if let Some(text) = line.strip_prefix("I: ") {
                let mut seen = seen.lock();
                *seen += 1.0;
                progress.report(
                    Step::Packages,
                    text.trim_end_matches('.'),
                    share * (*seen / EXPECTED_LINES).min(1.0),
                );
            }
        };
        let result = self.runner().run(
            "installing the packages",
            PACKAGES_LIMIT,
            &words,
            Arc::new(line),
        );
        match result {
            Err(BuildError::Command {
                source: CommandError::Failed { stderr, .. },
                ..
            }) => Err(BuildError::Packages {
                mirror: self.mirror.archive.clone(),
                reason: reason(&stderr),
            }),
            other => other.map(drop),
        }
    }

    /// Returns the host's apt options. A host without a working apt-config has none.
    fn apt_options(&self) -> Vec<String> {
        let command = Run::new("apt-config", APT_CONFIG_LIMIT)
            .arg("dump")
            .env("PATH", &self.options.search_path)
            .run();
        command
            .map(|output| mirror::apt_options(&output.text()))
            .unwrap_or_default()
    }

    fn unpack(&self) -> Result<(), BuildError> {
        self.step(Step::FileSystem);
        let rootfs = self.work.path().join(ROOTFS);
        fs::create_dir(&rootfs).map_err(BuildError::io("make", &rootfs))?;
        let mut words = with_owners(self.privilege, true, "tar");
        words.extend(
            [
                "--extract",
                "--preserve-permissions",
                "--numeric-owner",
                "--directory",
                ROOTFS,
            ]
            .map(Into::into),
        );
        words.extend(["--file", ROOTFS_TAR].map(Into::into));
        self.runner().run(
            "unpacking the packages",
            FILE_STEP_LIMIT,
            &words,
            Arc::new(|_| {}),
        )?;
        let tar = self.work.path().join(ROOTFS_TAR);
        fs::remove_file(&tar).map_err(BuildError::io("remove", &tar))
    }

    /// Takes the kernel out of the image, because the host boots it.
    fn kernel(&self, stage: &Path) -> Result<Kernel, BuildError> {
        let boot = self.work.path().join(ROOTFS).join("boot");
        let entries = fs::read_dir(&boot).map_err(BuildError::io("look into", &boot))?;
        let mut found: Vec<(PathBuf, String)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((entry.path(), name.strip_prefix("vmlinuz-")?.to_owned()))
            })
            .collect();
        let (Some((path, version)), true) = (found.pop(), found.is_empty()) else {
            let error = if found.is_empty() {
                KernelError::NoKernel
            } else {
                KernelError::SeveralKernels(found.len() + 1)
            };
            return Err(error.into());
        };
        self.initrd(stage, &version)?;
        let vmlinuz = fs::read(&path).map_err(BuildError::io("read", &path))?;
        fs::remove_file(&path).map_err(BuildError::io("remove", &path))?;
        let write = |name: &'static str, bytes: &[u8]| {
            let target = stage.join(name);
            fs::write(&target, bytes)
                .map_err(BuildError::io("write", &target))
                .map(|()| name)
        };
        let unpacked = if self.arch == Arch::X86_64 {
            kernel::vmlinux(&vmlinuz)
        } else {
            Err(KernelError::NotBzImage)
        };
        match unpacked {
            Ok(elf) => Ok(Kernel {
                file: write(VMLINUX, &elf)?,
                version,
                has_pvh: true,
            }),
            Err(error) => {
                if self.arch == Arch::X86_64 {
                    self.progress.warn(&format!(
                        "{error}; the image boots with vmlinuz, half a second slower"
                    ));
                }
                Ok(Kernel {
                    file: write(VMLINUZ, &vmlinuz)?,
                    version,
                    has_pvh: false,
                })
            }
        }
    }

    /// Writes the initial RAM disk for the kernel `version`.
    fn initrd(&self, stage: &Path, version: &str) -> Result<(), BuildError> {
        let rootfs = self.work.path().join(ROOTFS);
        let archive = initrd::build(&rootfs, version, overlay::GUEST_AGENT)
            .map_err(BuildError::io("read the kernel's modules in", &rootfs))?;
        let target = stage.join(INITRD);
        fs::write(&target, archive).map_err(BuildError::io("write", &target))
    }

    fn make_disk(&self, disk: &Path) -> Result<(), BuildError> {
        let mut words = with_owners(self.privilege, false, "mke2fs");
        words.extend(
            mke2fs_arguments(self.options.disk_bytes)
                .into_iter()
                .map(OsString::from),
        );
        self.runner().run(
            "making the file system",
            FILE_STEP_LIMIT,
            &words,
            Arc::new(|_| {}),
        )?;
        self.step(Step::Disk);
        let mut words: Vec<OsString> = [
            "qemu-img", "convert", "-q", "-m", "8", "-W", "-c", "-f", "raw", "-O", "qcow2",
        ]
        .map(Into::into)
        .to_vec();
        words.extend(["-o", "compression_type=zstd", RAW_DISK].map(Into::into));
        words.push(disk.as_os_str().to_owned());
        self.runner().run(
            "compressing the disk",
            FILE_STEP_LIMIT,
            &words,
            Arc::new(|_| {}),
        )?;
        Ok(())
    }

    fn publish(
        &self,
        stage: &Path,
        kernel: &Kernel,
        cache: &Cache,
    ) -> Result<BuiltImage, BuildError> {
        self.step(Step::Publishing);
        let console = if self.arch == Arch::Aarch64 {
            "ttyAMA0"
        } else {
            "ttyS0"
        };
        let size = [DISK, kernel.file, INITRD]
            .iter()
            .filter_map(|name| Some(fs::metadata(stage.join(name)).ok()?.len()))
            .sum();
        let image = BuiltImage {
            name: self.recipe.name.to_owned(),
            arch: self.arch,
            created: jiff::Timestamp::now().to_string(),
            disk: BuiltDisk {
                file: DISK.to_owned(),
                format: DiskFormat::Qcow2,
                virtual_size: self.options.disk_bytes,
                sha256: self.sha256(&stage.join(DISK))?,
            },
            kernel: Some(BuiltKernel {
                file: kernel.file.to_owned(),
                cmdline: recipe::kernel_command_line(console),
            }),
            initrd: Some(BuiltFile {
                file: INITRD.to_owned(),
            }),
            firmware: kernel.has_pvh.then(|| "qboot.rom".to_owned()),
            root_bus: RootBus::Virtio,
            size,
            description: Some(format!(
                "{} packages, Linux {}",
                self.recipe.name, kernel.version
            )),
            fingerprint: Some(fingerprint::of(
                self.recipe,
                self.arch,
                self.options.disk_bytes,
                overlay::GUEST_AGENT,
            )),
        };
        for name in [DISK, kernel.file, INITRD] {
            keep_private(&stage.join(name))?;
        }
        let path = stage.join("image.json");
        let text = serde_json::to_vec_pretty(&image).map_err(|error| BuildError::Io {
            action: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        process::file::write_atomic(&path, &text, 0o600)?;
        Ok(cache.publish_built(self.recipe.name, stage)?)
    }

    fn sha256(&self, path: &Path) -> Result<String, BuildError> {
        let mut file = fs::File::open(path).map_err(BuildError::io("open", path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            if self.cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            match file
                .read(&mut buffer)
                .map_err(BuildError::io("read", path))?
            {
                0 => return Ok(hex::encode(hasher.finalize())),
                length => hasher.update(&buffer[..length]),
            }
        }
    }
}

/// Mode 0600 regardless of the umask: the content of an image is in every VM's disk.
fn keep_private(path: &Path) -> Result<(), BuildError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(BuildError::io("set the permissions of", path))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Root builds as root. Any other user needs a user namespace with subordinate ids.
fn privilege(options: &Options) -> Result<Privilege, BuildError> {
    #[cfg(unix)]
    let uid = rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    let uid = 1;
    if uid == 0 {
        return Ok(Privilege::Root);
    }
    tools::check(
        &options.search_path,
        Path::new("/"),
        Privilege::UserNamespace,
    )?;
    tools::check_subordinate_ids(&options.etc, &tools::user_name(&options.etc, uid), uid)?;
    Ok(Privilege::UserNamespace)
}

/// Reports the wait for another build.
struct Waiting<'a>(&'a Arc<dyn Progress>);

impl lima::progress::Progress for Waiting<'_> {
    fn report(&self, phase: lima::progress::Phase, subject: &str, _: u64, _: Option<u64>) {
        if phase == lima::progress::Phase::Waiting {
            self.0.report(Step::WaitingForOther, subject, 0.0);
        }
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}
