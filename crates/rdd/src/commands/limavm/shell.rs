//! `rdd limavm shell`: ssh into a VM. Starts nothing.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::Command;

use anyhow::{Context as _, bail};
use lima::layout::LimaHome;
use process::lock::{self, Holder};

use super::no_folder;
use crate::context::Context;
use crate::exit::Exit;

/// Runs ssh in place of this program, so that its exit code, its signals and its terminal are ours.
pub(crate) fn run(
    context: &Context,
    name: &str,
    workdir: Option<&str>,
    command: &[String],
) -> anyhow::Result<Exit> {
    let dir = LimaHome::new(context.paths.lima_home()).instance(name)?;
    if !dir.path().is_dir() {
        return Err(no_folder::error(context, name));
    }
    if lock::holder(&dir.ha_lock())? == Holder::Free || !dir.ssh_config().exists() {
        bail!("LimaVM {name:?} is not running; start it with `rdd limavm start {name}`");
    }
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(dir.ssh_config());
    let remote = remote_command(workdir, command);
    // ssh makes a terminal by itself when no command is given.
    if remote.is_some() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        ssh.arg("-t");
    }
    ssh.arg(format!("lima-{name}"));
    ssh.args(remote.map(OsString::from));
    replace_this_program(ssh)
}

/// What the guest's shell is given. ssh joins its arguments with spaces and a shell reads the result, so each one is
/// quoted. A login shell runs it, because people expect the `PATH` of their profile.
fn remote_command(workdir: Option<&str>, command: &[String]) -> Option<String> {
    let go = workdir
        .map(|dir| format!("cd {} && ", quoted(dir)))
        .unwrap_or_default();
    if command.is_empty() {
        return workdir.is_some().then(|| format!("{go}exec \"$SHELL\" -l"));
    }
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    Some(format!(
        "{go}exec \"$SHELL\" -l -c {}",
        quoted(&words.join(" "))
    ))
}

/// In single quotes, which a POSIX shell reads as they are.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(unix)]
fn replace_this_program(mut ssh: Command) -> anyhow::Result<Exit> {
    use std::os::unix::process::CommandExt as _;
    let error = ssh.exec();
    Err(error).context("cannot run ssh; install the OpenSSH client")
}

#[cfg(not(unix))]
fn replace_this_program(mut ssh: Command) -> anyhow::Result<Exit> {
    let status = ssh
        .status()
        .context("cannot run ssh; install the OpenSSH client")?;
    // ssh's own failures have 255 as well.
    Ok(Exit::Remote(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(255),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_word_arrives_as_it_was_typed() {
        assert_eq!(remote_command(None, &[]), None);
        assert_eq!(
            remote_command(Some("/a b"), &[]).unwrap(),
            r#"cd '/a b' && exec "$SHELL" -l"#
        );
        let awkward = [
            "a  b",
            "it's",
            "",
            "$HOME",
            "*",
            "echo \"$1\"; exit 42",
            "-c",
            "\n",
        ];
        let mut command = words(&["printf", "%s|"]);
        command.extend(words(&awkward));
        let remote = remote_command(None, &command).unwrap();
        // What sshd does with it: the user's shell reads it.
        let output = Command::new("sh")
            .args(["-c", &remote])
            .env("SHELL", "sh")
            .output()
            .unwrap();
        let expected: String = awkward.iter().map(|word| format!("{word}|")).collect();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{remote}"
        );
    }
}
