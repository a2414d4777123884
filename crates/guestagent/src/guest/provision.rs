//! Runs the template's provision scripts, as Lima does: at each boot, after ssh is up, `dependency` and `system` ones
//! as root, then `user` ones as the user in a login environment. A script that fails is reported, and the next one runs.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use guestagent::cidata::Settings;

use super::channel::Channel;
use super::seed::Seed;
use super::{files, kernel_log};

/// The end of a failed script's output that is reported; all of it is in the journal.
const REPORTED_TAIL: usize = 600;

/// Runs all scripts, in the order of their names. User scripts wait for `settling`: they may talk to the user's systemd.
pub(crate) fn run(seed: &Seed, channel: &Channel, uid: u32, settling: JoinHandle<()>) {
    // Scripts written for Lima may look for the disk here.
    let mounted = Path::new("/mnt/lima-cidata");
    if !mounted.exists() {
        let _ = std::fs::remove_file(mounted);
        let _ = std::os::unix::fs::symlink(&seed.folder, mounted);
    }
    let mut settling = Some(settling);
    for (folder, as_user) in [
        ("provision.dependency/", false),
        ("provision.system/", false),
        ("provision.user/", true),
    ] {
        for path in seed.paths.iter().filter(|path| path.starts_with(folder)) {
            if as_user && let Some(settling) = settling.take() {
                let _ = settling.join();
            }
            kernel_log::info(&format!("running {path}"));
            if let Err(text) = run_script(seed, path, as_user.then_some(uid)) {
                channel.failure(&format!("provision script {path} {text}"));
            }
        }
    }
}

/// As root, or as the user with this id.
fn run_script(seed: &Seed, path: &str, as_user: Option<u32>) -> Result<(), String> {
    let source = seed.folder.join(path);
    let log_path = source.with_extension("log");
    let mut command = match as_user {
        Some(uid) => user_command(&seed.settings, uid, &source)?,
        None => root_command(&source),
    };
    let log = File::create(&log_path).map_err(|error| format!("cannot be logged: {error}"))?;
    let copy = log
        .try_clone()
        .map_err(|error| format!("cannot be logged: {error}"))?;
    command.env("LIMA_CIDATA_MNT", &seed.folder);
    command.envs(
        seed.settings
            .environment
            .iter()
            .map(|(key, value)| (key, value)),
    );
    let status = command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .status()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let output = files::text(&log_path);
    kernel_log::info(&output);
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: {}", describe(status), tail(&output)))
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended with {status}"),
    }
}

fn tail(output: &str) -> String {
    let text = output.trim_end();
    let mut start = text.len().saturating_sub(REPORTED_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

fn root_command(source: &Path) -> Command {
    let mut command = Command::new(source);
    command.current_dir("/").env("HOME", "/root").env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
}

/// A copy that the user may read, through sudo for the login environment.
fn user_command(settings: &Settings, uid: u32, source: &Path) -> Result<Command, String> {
    let user = &settings.user;
    let copy = Path::new("/run").join(format!(
        "rdd-provision-{}",
        source.file_name().unwrap_or_default().display()
    ));
    let bytes = std::fs::read(source).map_err(|error| format!("cannot be read: {error}"))?;
    files::replace(&copy, &bytes, 0o755, None)
        .map_err(|error| format!("cannot be copied: {error}"))?;
    let names: Vec<&str> = settings
        .environment
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    let mut command = Command::new("/usr/bin/sudo");
    command
        .arg("-iu")
        .arg(&user.name)
        .arg(format!(
            "--preserve-env=LIMA_CIDATA_MNT,{}",
            names.join(",")
        ))
        .arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}"))
        .arg("--")
        .arg(copy);
    Ok(command)
}
