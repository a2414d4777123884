//! Runs the template's provision steps at each boot, as Lima does: `boot` scripts before ssh, then the files of mode `data`,
//! `dependency` and `system` scripts as root, and `user` scripts as the user in a login environment. A script that fails is reported, and the
//! next one runs.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use guestagent::protocol::{FAILURES_LIMIT, FailedScript, LAST_LINES_LIMIT, Phase, Provisioning};

use super::channel::Channel;
use super::data_files;
use super::seed::Seed;
use super::{files, kernel_log};

const BOOT: &str = "provision.boot/";
const AS_ROOT: [&str; 2] = ["provision.dependency/", "provision.system/"];
const AS_USER: &str = "provision.user/";

/// How a script is executed.
#[derive(Clone, Copy)]
enum Mode {
    /// By `sh`, as cloud-init runs the commands of `bootcmd`.
    Boot,
    /// By its own interpreter, as root.
    Root,
    /// By its own interpreter, as the user with this id.
    User(u32),
    /// Not a script, but the content of a file.
    Data,
}

/// Reports how many scripts there are, and runs those of mode `boot`.
pub(crate) fn run_boot(seed: &Seed, channel: &Channel) {
    let all = [BOOT, data_files::FOLDER, AS_ROOT[0], AS_ROOT[1], AS_USER];
    let total: usize = all.iter().map(|folder| scripts(seed, folder).count()).sum();
    channel.update(|state| {
        state.provisioning = Some(Box::new(Provisioning {
            total: u32::try_from(total).unwrap_or(u32::MAX),
            ..Provisioning::default()
        }));
    });
    // Scripts that were written for Lima look for the disk here.
    let mounted = Path::new("/mnt/lima-cidata");
    if !mounted.exists() {
        let _ = std::fs::remove_file(mounted);
        let _ = std::os::unix::fs::symlink(&seed.folder, mounted);
    }
    run_folder(seed, channel, BOOT, Mode::Boot);
}

/// Runs all other scripts, in the order of their names, and reports the end of the provisioning. User scripts wait for
/// `settling`, because they may talk to the user's systemd.
pub(crate) fn run(seed: &Seed, channel: &Channel, uid: u32, settling: JoinHandle<()>) {
    run_folder(seed, channel, data_files::FOLDER, Mode::Data);
    for folder in AS_ROOT {
        run_folder(seed, channel, folder, Mode::Root);
    }
    if scripts(seed, AS_USER).next().is_some() {
        let _ = settling.join();
        run_folder(seed, channel, AS_USER, Mode::User(uid));
    }
    channel.update(|state| {
        let provisioning = state.provisioning.get_or_insert_default();
        provisioning.running = None;
        provisioning.done = true;
        state.phase = state.phase.max(Phase::Provisioned);
    });
}

fn scripts<'s>(seed: &'s Seed, folder: &str) -> impl Iterator<Item = &'s String> {
    seed.paths
        .iter()
        .filter(move |path| path.starts_with(folder))
}

fn run_folder(seed: &Seed, channel: &Channel, folder: &str, mode: Mode) {
    for path in scripts(seed, folder) {
        kernel_log::info(&format!("running {path}"));
        channel.update(|state| {
            state.provisioning.get_or_insert_default().running = Some(path.clone());
        });
        let failed = run_script(seed, path, mode).err();
        if let Some(failed) = &failed {
            channel.failure(&sentence(failed));
        }
        channel.update(|state| {
            let provisioning = state.provisioning.get_or_insert_default();
            provisioning.ended = provisioning.ended.saturating_add(1);
            provisioning.running = None;
            if let Some(failed) = failed
                && provisioning.failed.len() < FAILURES_LIMIT
            {
                provisioning.failed.push(failed);
            }
        });
    }
}

fn run_script(seed: &Seed, path: &str, mode: Mode) -> Result<(), FailedScript> {
    let not_started = |error: String| FailedScript {
        script: path.to_owned(),
        error,
        ..FailedScript::default()
    };
    if let Mode::Data = mode {
        return data_files::write(seed, path).map_err(not_started);
    }
    let source = seed.folder.join(path);
    let log_path = source.with_extension("log");
    let mut command = match mode {
        Mode::Boot => {
            let mut command = root_command(Path::new("/bin/sh"));
            command.arg(&source);
            command
        }
        Mode::Root => root_command(&source),
        Mode::User(uid) => user_command(seed, uid, &source).map_err(not_started)?,
        Mode::Data => return Ok(()),
    };
    let not_logged = |error: std::io::Error| not_started(format!("cannot write its log: {error}"));
    let log = File::create(&log_path).map_err(not_logged)?;
    let copy = log.try_clone().map_err(not_logged)?;
    let status = command
        .env("LIMA_CIDATA_MNT", &seed.folder)
        .envs(variables(seed).map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .status()
        .map_err(|error| not_started(format!("cannot be started: {error}")))?;
    let output = files::text(&log_path);
    kernel_log::info(&output);
    if status.success() {
        return Ok(());
    }
    Err(failed(path, status, &output))
}

/// Lima's variables, the template's parameters, and its `env`.
fn variables(seed: &Seed) -> impl Iterator<Item = &(String, String)> {
    let settings = &seed.settings;
    settings.environment.iter().chain(&settings.env)
}

fn failed(path: &str, status: ExitStatus, output: &str) -> FailedScript {
    FailedScript {
        script: path.to_owned(),
        exit_code: status.code(),
        signal: status.signal(),
        error: String::new(),
        last_lines: tail(output),
    }
}

fn sentence(failed: &FailedScript) -> String {
    let what = match (failed.exit_code, failed.signal) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => failed.error.clone(),
    };
    let lines = if failed.last_lines.is_empty() {
        String::new()
    } else {
        format!(": {}", failed.last_lines)
    };
    format!("provision script {} {what}{lines}", failed.script)
}

/// The end of the output, without the control characters of terminals.
fn tail(output: &str) -> String {
    let text: String = output
        .trim_end()
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let mut start = text.len().saturating_sub(LAST_LINES_LIMIT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

fn root_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("HOME", "/root").env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
}

/// A copy of the script that the user may read, run by sudo for the login environment.
fn user_command(seed: &Seed, uid: u32, source: &Path) -> Result<Command, String> {
    let copy = Path::new("/run").join(format!(
        "rdd-provision-{}",
        source.file_name().unwrap_or_default().display()
    ));
    let bytes = std::fs::read(source).map_err(|error| format!("cannot be read: {error}"))?;
    files::replace(&copy, &bytes, 0o755, None)
        .map_err(|error| format!("cannot be copied: {error}"))?;
    let names: Vec<&str> = variables(seed).map(|(key, _)| key.as_str()).collect();
    let mut command = Command::new("/usr/bin/sudo");
    command
        .arg("-iu")
        .arg(&seed.settings.user.name)
        .arg(format!(
            "--preserve-env=LIMA_CIDATA_MNT,{}",
            names.join(",")
        ))
        .arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}"))
        .arg("--")
        .arg(copy);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_script_is_described_with_its_end_and_its_last_lines() {
        let exited = ExitStatus::from_raw(3 << 8);
        let output = format!("{}\n\u{1b}[31mno such host\u{1b}[0m\n", "x".repeat(2000));
        let found = failed("provision.system/00000001", exited, &output);
        assert_eq!((found.exit_code, found.signal), (Some(3), None));
        assert_eq!(found.last_lines.len(), LAST_LINES_LIMIT);
        assert!(found.last_lines.ends_with("x\n[31mno such host[0m"));
        let killed = failed("provision.user/00000000", ExitStatus::from_raw(9), "");
        assert_eq!(
            sentence(&killed),
            "provision script provision.user/00000000 was killed by signal 9"
        );
        assert_eq!(
            tail("é".repeat(LAST_LINES_LIMIT).as_str()).chars().count(),
            300
        );
    }
}
