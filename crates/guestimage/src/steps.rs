//! The commands of a build. Each has a time limit and is killed when the build is cancelled.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lima::progress::Cancel;
use process::command::{CommandError, Output, Run, Stream};

use crate::error::BuildError;
use crate::mirror::Mirror;
use crate::overlay;
use crate::recipe::Recipe;
use crate::tools::Privilege;

/// The limit for downloading and installing 150 packages over a slow line.
pub(crate) const PACKAGES_LIMIT: Duration = Duration::from_secs(3600);
/// The limit of the other steps, which handle a few hundred MiB on the local disk.
pub(crate) const FILE_STEP_LIMIT: Duration = Duration::from_secs(900);
/// How often the build checks for a cancel while a command runs.
const CANCEL_LOOK: Duration = Duration::from_millis(100);
/// The lines of a failed mmdebstrap that a message contains.
const SHOWN_LINES: usize = 6;

/// Names relative to the work folder, so that no path needs quoting in mmdebstrap's hooks.
pub(crate) const OVERLAY_TAR: &str = "overlay.tar";
pub(crate) const ROOTFS_TAR: &str = "rootfs.tar";
pub(crate) const ROOTFS: &str = "rootfs";
pub(crate) const RAW_DISK: &str = "disk.raw";
/// The file in which fakeroot keeps owners and device nodes between two commands.
const FAKEROOT_STATE: &str = "fakeroot.state";

/// Returns the command that runs mmdebstrap in its namespace. `--wd` puts the work folder into the command line, by which a
/// later build finds the processes of a killed one.
pub(crate) fn mmdebstrap(
    privilege: Privilege,
    folder: &Path,
    arguments: Vec<String>,
) -> Vec<OsString> {
    let mut directory = OsString::from("--wd=");
    directory.push(folder);
    let mut words: Vec<OsString> = privilege.namespace().iter().map(OsString::from).collect();
    words.extend([directory, "mmdebstrap".into()]);
    words.extend(arguments.into_iter().map(OsString::from));
    words
}

/// Returns the arguments of mmdebstrap.
pub(crate) fn mmdebstrap_arguments(
    recipe: &Recipe,
    debian_arch: &str,
    mirror: &Mirror,
    apt_options: &[String],
) -> Vec<String> {
    let mut arguments = vec![
        // Root of the host or of a user namespace: see `Privilege::namespace`.
        "--mode=root".to_owned(),
        "--variant=minbase".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={debian_arch}"),
        format!("--include={}", recipe.packages(debian_arch).join(",")),
        // Manual pages and translations are half of the small files. Licences must stay.
        "--dpkgopt=path-exclude=/usr/share/man/*".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/locale/*".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/doc/*".to_owned(),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned(),
    ];
    arguments.extend(
        apt_options
            .iter()
            .map(|option| format!("--aptopt={option}")),
    );
    arguments.push(format!("--customize-hook=tar-in {OVERLAY_TAR} /"));
    arguments.push(format!(
        "--customize-hook=chroot \"$1\" /{}",
        overlay::SETUP_SCRIPT
    ));
    arguments.push(recipe.suite.to_owned());
    arguments.push(ROOTFS_TAR.to_owned());
    arguments.extend(mirror.source_lines(recipe));
    arguments
}

/// Returns the arguments of `mke2fs` for a disk that is one file system, without a partition table.
pub(crate) fn mke2fs_arguments(bytes: u64) -> Vec<String> {
    let kib = bytes / 1024;
    // Reserved blocks let root's programs continue on a full disk. 1 % of today's disks is enough.
    let mut arguments: Vec<String> = ["-q", "-F", "-t", "ext4", "-L", "root", "-m", "1"]
        .map(str::to_owned)
        .to_vec();
    arguments.extend([
        "-d".to_owned(),
        ROOTFS.to_owned(),
        RAW_DISK.to_owned(),
        format!("{kib}k"),
    ]);
    arguments
}

/// Returns the words that run a program: under fakeroot, unless the build runs as root.
pub(crate) fn with_owners(privilege: Privilege, first: bool, program: &str) -> Vec<OsString> {
    let words: &[&str] = match (privilege, first) {
        (Privilege::Root, _) => &[],
        (Privilege::UserNamespace, true) => &["fakeroot", "-s", FAKEROOT_STATE, "--"],
        (Privilege::UserNamespace, false) => &["fakeroot", "-i", FAKEROOT_STATE, "--"],
    };
    words
        .iter()
        .map(OsString::from)
        .chain([program.into()])
        .collect()
}

/// Runs the commands of one build.
pub(crate) struct Runner<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) search_path: &'a OsStr,
    pub(crate) cancel: &'a Cancel,
}

impl Runner<'_> {
    /// Runs a command in the work folder. Calls `line` for each line that the command prints to stderr.
    pub(crate) fn run(
        &self,
        doing: &'static str,
        limit: Duration,
        words: &[OsString],
        line: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Output, BuildError> {
        let (program, arguments) = words.split_first().ok_or(BuildError::Cancelled)?;
        let mut pending = String::new();
        let command = Run::new(program, limit)
            .args(arguments)
            .cwd(self.folder)
            .env("PATH", self.search_path)
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", self.folder)
            // With this, the kernel hook of initramfs-tools makes no initial RAM disk, which would be unused.
            .env("INITRD", "No")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .observe(move |stream, bytes| {
                if stream == Stream::Stderr {
                    pending.push_str(&String::from_utf8_lossy(bytes));
                    while let Some(end) = pending.find('\n') {
                        line(pending[..end].trim_end());
                        pending.drain(..=end);
                    }
                }
            });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(BuildError::io("start a helper in", self.folder))?;
        let outcome = runtime.block_on(async {
            tokio::select! {
                result = command.run_async() => Some(result),
                () = cancelled(self.cancel) => None,
            }
        });
        // The runtime's blocking thread kills the command. Dropping the runtime waits for that.
        drop(runtime);
        match outcome {
            None => Err(BuildError::Cancelled),
            Some(Ok(output)) => Ok(output),
            Some(Err(source)) => Err(self.failed(doing, source)),
        }
    }

    fn failed(&self, doing: &'static str, source: CommandError) -> BuildError {
        match &source {
            CommandError::Failed { stderr, .. } if stderr.contains("No space left on device") => {
                BuildError::NoSpace {
                    doing,
                    path: self.folder.to_owned(),
                }
            }
            _ => BuildError::Command { doing, source },
        }
    }
}

async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(CANCEL_LOOK).await;
    }
}

/// Returns the lines of mmdebstrap with the reason of a failure: the errors of apt and its own, or else the last lines.
pub(crate) fn reason(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let is_error = |line: &&&str| {
        ["E:", "Err:", "W: Failed", "W: GPG"]
            .iter()
            .any(|mark| line.starts_with(mark))
    };
    let errors: Vec<&str> = lines.iter().filter(is_error).copied().collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    chosen[chosen.len().saturating_sub(SHOWN_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::find;

    #[test]
    fn mmdebstrap_has_the_expected_arguments() {
        let recipe = find("debian-12").unwrap();
        let mirror = Mirror::named("http://m.example/debian").unwrap();
        let options = ["Acquire::Check-Date \"false\"".to_owned()];
        let arguments = mmdebstrap_arguments(recipe, "amd64", &mirror, &options);
        assert_eq!(arguments[0], "--mode=root");
        let words = mmdebstrap(
            Privilege::UserNamespace,
            Path::new("/var/tmp/x y"),
            arguments.clone(),
        );
        assert!(
            words.contains(&"--map-auto".into()) && words.contains(&"--wd=/var/tmp/x y".into())
        );
        assert!(arguments.contains(&"--aptopt=Acquire::Check-Date \"false\"".to_owned()));
        let suite = arguments
            .iter()
            .position(|word| word == "bookworm")
            .unwrap();
        let signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            arguments[suite + 1..],
            [
                "rootfs.tar".to_owned(),
                format!("deb {signed} http://m.example/debian bookworm main"),
                format!("deb {signed} http://m.example/debian bookworm-updates main"),
                format!("deb {signed} http://m.example/debian-security bookworm-security main"),
            ]
        );
        // A path of the user in a hook would need quoting for a shell.
        assert!(
            arguments
                .iter()
                .filter(|word| word.contains("hook="))
                .all(|word| !word.contains("/tmp"))
        );
    }

    #[test]
    fn fakeroot_keeps_owners_between_two_commands() {
        assert_eq!(with_owners(Privilege::Root, true, "tar"), ["tar"]);
        let state = |first| with_owners(Privilege::UserNamespace, first, "x")[1..3].to_vec();
        assert_eq!(state(true), ["-s", "fakeroot.state"]);
        assert_eq!(state(false), ["-i", "fakeroot.state"]);
    }

    #[test]
    fn the_reason_of_a_failure_is_apts_error() {
        let stderr = "I: running apt-get update...\nErr:1 http://m.example bookworm InRelease\n  Could not resolve \
                      'm.example'\nE: Some index files failed to download.\nI: main() received signal\n";
        assert_eq!(
            reason(stderr),
            "Err:1 http://m.example bookworm InRelease; E: Some index files failed to download."
        );
        assert_eq!(reason("one\n\ntwo\n"), "one; two");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn a_cancel_kills_the_running_command() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let path = crate::tools::default_search_path();
        let runner = Runner {
            folder: folder.path(),
            search_path: &path,
            cancel: &cancel,
        };
        std::thread::scope(|scope| {
            let mark = folder.path().join("started");
            let script = "touch started; exec sleep 600";
            let words: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
            let run = scope.spawn(move || {
                let runner = runner;
                runner.run(
                    "waiting",
                    Duration::from_secs(600),
                    &words,
                    Arc::new(|_| {}),
                )
            });
            while !mark.exists() {
                assert!(!run.is_finished());
                std::thread::yield_now();
            }
            cancel.cancel();
            assert!(matches!(run.join().unwrap(), Err(BuildError::Cancelled)));
        });
    }
}
