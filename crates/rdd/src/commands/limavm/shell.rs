//! `rdd limavm shell`: ssh into a VM. Starts nothing.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::process::Command;

use anyhow::bail;
use lima::layout::LimaHome;
use process::lock::{self, Holder};

use super::no_folder;
use crate::context::Context;
use crate::exit::Exit;

/// Replaces this process with ssh, so that exit code, signals and terminal are those of ssh.
pub(crate) fn run(
    context: &Context,
    name: &str,
    workdir: Option<&OsStr>,
    command: &[OsString],
) -> anyhow::Result<Exit> {
    let dir = LimaHome::new(context.paths.lima_home()).instance(name)?;
    if !dir.path().is_dir() {
        return Err(no_folder::error(context, name));
    }
    if lock::holder(&dir.ha_lock())? == Holder::Free || !dir.ssh_config().exists() {
        bail!("LimaVM {name:?} is not running; start it with `rdd limavm start {name}`");
    }
    let mut ssh = Command::new("ssh");
    // The shared connection that ssh may start stays in this folder, and must not keep the file system of the user's
    // folder busy.
    #[cfg(unix)]
    ssh.current_dir("/");
    ssh.arg("-F").arg(dir.ssh_config());
    let remote = remote_command(workdir, command);
    // Without a command ssh requests a terminal by itself.
    if remote.is_some() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        ssh.arg("-t");
    }
    ssh.arg(format!("lima-{name}"));
    ssh.args(&remote);
    let length = remote.map_or(0, |remote| remote.len());
    replace_this_program(ssh, length)
}

/// The command line for the guest's shell. ssh joins its arguments with spaces and a shell reads the result, so each one
/// is quoted. A login shell runs it, because people expect the `PATH` of their profile. Arguments are bytes: a file's
/// name in the guest need not be UTF-8.
fn remote_command(workdir: Option<&OsStr>, command: &[OsString]) -> Option<OsString> {
    let mut line = OsString::new();
    if let Some(dir) = workdir {
        line.push("cd ");
        line.push(quoted(dir));
        line.push(" && ");
    }
    if command.is_empty() {
        line.push("exec \"$SHELL\" -l");
        return workdir.is_some().then_some(line);
    }
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    line.push("exec \"$SHELL\" -l -c ");
    line.push(quoted(&words.join(OsStr::new(" "))));
    Some(line)
}

/// In single quotes, which a POSIX shell reads as they are.
#[cfg(unix)]
fn quoted(word: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

/// In single quotes, which a POSIX shell reads as they are. Arguments are text on Windows.
#[cfg(not(unix))]
fn quoted(word: &OsStr) -> OsString {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")).into()
}

/// What to do about an ssh that did not start, by the length of the command in bytes.
fn ssh_failure(error: std::io::Error, length: usize) -> anyhow::Error {
    let advice = match error.kind() {
        std::io::ErrorKind::NotFound => "install the OpenSSH client".to_owned(),
        std::io::ErrorKind::ArgumentListTooLong => format!(
            "the command is {length} bytes long with its quotes, which is more than this system passes to a program; \
             give a long script on standard input instead: rdd limavm shell NAME sh < SCRIPT"
        ),
        _ => "check that `ssh -V` works".to_owned(),
    };
    anyhow::Error::new(error).context(format!("cannot run ssh; {advice}"))
}

#[cfg(unix)]
fn replace_this_program(mut ssh: Command, length: usize) -> anyhow::Result<Exit> {
    use std::os::unix::process::CommandExt as _;
    Err(ssh_failure(ssh.exec(), length))
}

#[cfg(not(unix))]
fn replace_this_program(mut ssh: Command, length: usize) -> anyhow::Result<Exit> {
    let status = ssh.status().map_err(|error| ssh_failure(error, length))?;
    // 255, as for ssh's own failures.
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

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// What the guest's shell prints for the command.
    #[cfg(unix)]
    fn output_of(command: &[OsString]) -> Vec<u8> {
        let remote = remote_command(None, command).unwrap();
        // sshd gives it to the user's shell.
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&remote).env("SHELL", "sh");
        shell.output().unwrap().stdout
    }

    #[test]
    fn workdir_alone_starts_a_login_shell_there() {
        assert_eq!(remote_command(None, &[]), None);
        assert_eq!(
            remote_command(Some(OsStr::new("/a b")), &[]).unwrap(),
            r#"cd '/a b' && exec "$SHELL" -l"#
        );
    }

    #[cfg(unix)]
    #[test]
    fn every_word_arrives_unchanged() {
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
        let expected: String = awkward.iter().map(|word| format!("{word}|")).collect();
        assert_eq!(output_of(&command), expected.as_bytes());
    }

    #[cfg(unix)]
    #[test]
    fn word_that_is_not_utf8_arrives_as_its_bytes() {
        use std::os::unix::ffi::OsStringExt as _;
        let mut command = words(&["printf", "%s"]);
        command.push(OsString::from_vec(vec![0xff, 0xfe, b'\'']));
        assert_eq!(output_of(&command), [0xff, 0xfe, b'\'']);
    }

    #[test]
    fn command_that_is_too_long_gets_advice_for_that() {
        let error = std::io::ErrorKind::ArgumentListTooLong.into();
        let message = format!("{:#}", ssh_failure(error, 200_000));
        assert!(
            message.contains("200000 bytes") && message.contains("standard input"),
            "{message}"
        );
        let error = std::io::ErrorKind::NotFound.into();
        assert!(format!("{:#}", ssh_failure(error, 1)).contains("install the OpenSSH client"));
    }
}
