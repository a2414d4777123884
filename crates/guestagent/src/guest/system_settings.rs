//! Settings of the whole guest that the template gives: variables, time zone, names of hosts.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use guestagent::cidata::Settings;
use guestagent::managed_block;

use super::files;

const ENVIRONMENT: &str = "/etc/environment";
const HOSTS: &str = "/etc/hosts";
const ZONES: &str = "/usr/share/zoneinfo";

/// Writes the variables for all sessions. pam_env reads the file at each login, so this comes before sshd starts.
///
/// # Errors
/// The root file system cannot be written to.
pub(crate) fn write_environment(settings: &Settings) -> io::Result<()> {
    write_block(ENVIRONMENT, &settings.env_lines)
}

/// Writes the names of hosts. Called after the host name has been written to the same file.
///
/// # Errors
/// The root file system cannot be written to.
pub(crate) fn write_hosts(settings: &Settings) -> io::Result<()> {
    write_block(HOSTS, &settings.hosts)
}

fn write_block(path: &str, lines: &[String]) -> io::Result<()> {
    let text = files::text(path);
    let new = managed_block::replace(&text, lines);
    if new == text {
        return Ok(());
    }
    files::replace(Path::new(path), new.as_bytes(), 0o644, None)
}

/// Sets the time zone. A process reads it when it starts, so this comes before sshd starts.
///
/// # Errors
/// The image does not have the time zone, or the root file system cannot be written to.
pub(crate) fn set_timezone(zone: &str) -> io::Result<()> {
    let target = Path::new(ZONES).join(zone);
    if !target.is_file() {
        let reason = format!("the image has no {}", target.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let link = Path::new("/etc/localtime");
    if fs::read_link(link).ok().as_deref() != Some(&target) {
        let temporary = Path::new("/etc/localtime.rdd-new");
        let _ = fs::remove_file(temporary);
        symlink(&target, temporary)?;
        fs::rename(temporary, link)?;
    }
    files::replace_if_different(
        Path::new("/etc/timezone"),
        format!("{zone}\n").as_bytes(),
        0o644,
        None,
    )
}
