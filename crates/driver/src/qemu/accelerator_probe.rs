//! Whether this host's hardware really runs a guest.
//!
//! A device file that opens proves nothing: on some hosts `/dev/kvm` opens, creates VMs and starts guests, but a kernel
//! never finishes booting (see [`super::probe_guest`]). So the real QEMU runs a tiny guest once, and the result is cached
//! for as long as it cannot change: until the host reboots, or QEMU is replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use lima::template::Arch;
use process::command::{CommandError, Run};
use process::file::write_atomic;
use serde::{Deserialize, Serialize};

use super::probe_guest;
use crate::accelerator::Accelerator;
use crate::error::DriverError;

/// How long the tiny guest may take. Hardware needs 0.15 s in all and TCG 0.2 s; ten times that leaves room for a busy
/// host.
pub const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// QEMU prints nothing on standard output here.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// The cache has a few lines. A file of more was not written by this program.
const CACHE_LIMIT: u64 = 64 * 1024;
/// Cached results: a host has one or two QEMUs.
const CACHED_ANSWERS: usize = 16;

/// The chosen accelerator, and what the user should know about the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Where the guest's instructions will run.
    pub accelerator: Accelerator,
    /// Why not the hardware: what was tried and what happened.
    pub warning: Option<String>,
}

/// The result of running the tiny guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// The guest ran to its end.
    Works,
    /// The guest did not.
    Broken {
        /// What happened instead, as a message for the user.
        reason: String,
        /// Whether the guest hung. An immediate refusal (no device, no permission) is not cached: probing again costs
        /// nothing, and the reason may change.
        hung: bool,
    },
}

/// Chooses where a guest's instructions run: `forced` if given, else the hardware if the probe succeeds, else emulation
/// with a warning.
///
/// # Errors
/// The probe could not run: its files cannot be written, or QEMU does not start.
pub async fn choose(
    program: &Path,
    arch: Arch,
    forced: Option<Accelerator>,
    cache_dir: &Path,
) -> Result<Choice, DriverError> {
    if let Some(accelerator) = forced {
        return Ok(Choice {
            accelerator,
            warning: None,
        });
    }
    let emulate = |warning: String| Choice {
        accelerator: Accelerator::Tcg,
        warning: Some(warning),
    };
    if Arch::of_this_build() != Some(arch) {
        return Ok(emulate(format!(
            "the guest is emulated: it is {arch}, and this host is {}",
            std::env::consts::ARCH
        )));
    }
    let Some(hardware) = Accelerator::of_host() else {
        return Ok(emulate(format!(
            "the guest is emulated: QEMU has no accelerator for {}",
            std::env::consts::OS
        )));
    };
    Ok(
        match cached_or_probed(program, arch, hardware, cache_dir).await? {
            Verdict::Works => Choice {
                accelerator: hardware,
                warning: None,
            },
            Verdict::Broken { reason, .. } => emulate(format!(
                "the guest is emulated, which is many times slower, because {hardware} does not work here: {reason}"
            )),
        },
    )
}

/// Runs the tiny guest on `accelerator`. Takes at most a little more than [`PROBE_LIMIT`].
///
/// # Errors
/// The image cannot be written to `cache_dir`, or `program` cannot be started.
pub async fn probe(
    program: &Path,
    arch: Arch,
    accelerator: Accelerator,
    cache_dir: &Path,
) -> Result<Verdict, DriverError> {
    let image = write_image(arch, cache_dir)?;
    let mut args: Vec<String> = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-m",
        "16",
        "-accel",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(accelerator.name().into());
    let (machine, success) = match arch {
        Arch::X86_64 => (
            "q35,graphics=off,sata=off,usb=off,smbus=off",
            probe_guest::X86_SUCCESS,
        ),
        _ => ("virt", 0),
    };
    args.extend([
        "-machine".into(),
        machine.into(),
        "-bios".into(),
        path_text(&image)?,
    ]);
    if arch == Arch::X86_64 {
        args.push("-device".into());
        args.push(format!(
            "isa-debug-exit,iobase={:#x},iosize=1",
            probe_guest::X86_EXIT_PORT
        ));
    } else {
        args.extend([
            "-cpu".into(),
            if accelerator.is_hardware() {
                "host"
            } else {
                "max"
            }
            .into(),
        ]);
    }

    let started = Instant::now();
    let ended = Run::new(program, PROBE_LIMIT)
        .args(&args)
        .cwd(cache_dir)
        .limit(OUTPUT_LIMIT)
        .run_any_async()
        .await;
    tracing::debug!(%accelerator, millis = started.elapsed().as_millis(), ?ended, "probed the accelerator");
    match ended {
        Ok(output) if output.status.code() == Some(success) => Ok(Verdict::Works),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let reason = match text.trim() {
                "" => format!("QEMU ended with {}", output.status),
                text => format!("QEMU says: {text}"),
            };
            Ok(Verdict::Broken {
                reason,
                hung: false,
            })
        }
        Err(CommandError::TimedOut { .. }) => Ok(Verdict::Broken {
            reason: format!(
                "a test guest that needs 0.01 s on hardware did not finish within {} s (is this host a VM without nested \
                 virtualization?)",
                PROBE_LIMIT.as_secs()
            ),
            hung: true,
        }),
        Err(error) => Err(DriverError::Spawn {
            program: program.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// The file with the results of earlier probes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    key: Key,
    verdict: Verdict,
}

/// The result of a probe is valid while all of these stay the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    accelerator: Accelerator,
    /// A reboot can load other modules or move the host to another hypervisor.
    boot_id: String,
    program: PathBuf,
    /// The size of `program`, which changes with an upgrade.
    program_size: u64,
    /// When `program` was last modified, in seconds since 1970.
    program_modified: u64,
}

async fn cached_or_probed(
    program: &Path,
    arch: Arch,
    accelerator: Accelerator,
    cache_dir: &Path,
) -> Result<Verdict, DriverError> {
    let key = Key::of(program, accelerator);
    let file = cache_dir.join("accelerators.json");
    if let Some(key) = &key
        && let Some(answer) = read_cache(&file)
            .answers
            .into_iter()
            .find(|a| a.key == *key)
    {
        return Ok(answer.verdict);
    }
    let verdict = probe(program, arch, accelerator, cache_dir).await?;
    if let Some(key) = key
        && !matches!(verdict, Verdict::Broken { hung: false, .. })
    {
        store(
            &file,
            Answer {
                key,
                verdict: verdict.clone(),
            },
        );
    }
    Ok(verdict)
}

impl Key {
    /// `None` if the host does not report all of it; the result is then not cached.
    fn of(program: &Path, accelerator: Accelerator) -> Option<Key> {
        let program = std::fs::canonicalize(program).ok()?;
        let metadata = std::fs::metadata(&program).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Key {
            accelerator,
            boot_id: process::identity::boot_id().ok()?,
            program_size: metadata.len(),
            program_modified: modified.as_secs(),
            program,
        })
    }
}

/// Reads the cache. A missing or unreadable file counts as empty, so the probe runs again.
fn read_cache(file: &Path) -> Cache {
    let fits = std::fs::metadata(file).is_ok_and(|m| m.len() <= CACHE_LIMIT);
    if !fits {
        return Cache::default();
    }
    std::fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Adds a result to the cache. Two concurrent writers may lose one result, which only costs another probe.
fn store(file: &Path, answer: Answer) {
    let mut cache = read_cache(file);
    // Results of another boot and of the same key are stale.
    cache
        .answers
        .retain(|a| a.key.boot_id == answer.key.boot_id && a.key != answer.key);
    cache.answers.truncate(CACHED_ANSWERS - 1);
    cache.answers.push(answer);
    let written = serde_json::to_vec_pretty(&cache)
        .map_err(|e| e.to_string())
        .and_then(|bytes| write_atomic(file, &bytes, 0o600).map_err(|e| e.to_string()));
    if let Err(error) = written {
        tracing::warn!(%error, "cannot cache the result of the accelerator probe; the next start probes again");
    }
}

/// Writes the guest's image unless the file already has the right content.
fn write_image(arch: Arch, cache_dir: &Path) -> Result<PathBuf, DriverError> {
    let bytes = match arch {
        Arch::X86_64 => probe_guest::x86(),
        _ => probe_guest::aarch64(),
    };
    let path = cache_dir.join(format!("probe-guest-{arch}.bin"));
    if std::fs::read(&path).is_ok_and(|present| present == bytes) {
        return Ok(path);
    }
    let failed = |e: process::file::FileError| DriverError::File {
        action: e.action,
        path: e.path,
        source: e.source,
    };
    process::file::create_private_dir(cache_dir).map_err(failed)?;
    write_atomic(&path, &bytes, 0o600).map_err(failed)?;
    Ok(path)
}

fn path_text(path: &Path) -> Result<String, DriverError> {
    super::command_line::text(path).map(str::to_owned)
}
