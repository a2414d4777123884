//! A daemon that is not of this program but uses the same folders: the Go daemon of Rancher Desktop, which takes no
//! lock. Two daemons on one folder would overwrite each other's kubeconfig and remove each other's files.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use process::{Identity, Process};

use crate::context::Context;
use crate::paths::Paths;
use crate::service::ownership;

/// How long a connection to a port of this host may take.
const CONNECT: Duration = Duration::from_millis(500);
/// How long a daemon that has released its lock may take to exit.
const EXIT: Duration = Duration::from_secs(3);

/// Refuses to go on when another daemon uses the instance's folder. Call it while no daemon holds `rdd.lock`.
pub(crate) fn refuse(context: &Context) -> anyhow::Result<()> {
    let paths = &context.paths;
    let Some(pid) = std::fs::read_to_string(paths.pid_file())
        .ok()
        .and_then(|text| text.trim().parse().ok())
    else {
        return Ok(());
    };
    // The number alone proves nothing: a daemon that was killed leaves its file, and the number may be used again.
    let Ok(Some(identity)) = Identity::of(pid) else {
        return Ok(());
    };
    let lives = pid != std::process::id() && uses(pid, paths) && !exits(&identity)?;
    if lives && uses(pid, paths) {
        bail!(
            "the process {pid} uses {} and is no daemon of this program, since it does not hold {}; it may be the \
             daemon of Rancher Desktop. Quit that first, or use another instance: `rdd --instance NAME …`",
            paths.dir.display(),
            paths.lock().display()
        );
    }
    Ok(())
}

/// Whether the process exits soon: a daemon of this program releases its lock before it is gone.
fn exits(identity: &Identity) -> anyhow::Result<bool> {
    let process = Process::open(identity)?;
    Ok(process.is_none_or(|process| process.wait(Instant::now() + EXIT).is_exited()))
}

/// Whether the process has a file open in the instance's folder; where that cannot be seen, whether a program listens
/// on the port of the kubeconfig.
fn uses(pid: u32, paths: &Paths) -> bool {
    let dir = paths
        .dir
        .canonicalize()
        .unwrap_or_else(|_| paths.dir.clone());
    match open_files(pid) {
        Some(files) => files.iter().any(|file| file.starts_with(&dir)),
        None => port(&paths.config()).is_some_and(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpStream::connect_timeout(&address, CONNECT).is_ok()
        }),
    }
}

/// The files that the process has open; nothing where the system does not show them.
fn open_files(pid: u32) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(
        entries
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .collect(),
    )
}

/// The port of the first server in a kubeconfig.
fn port(kubeconfig: &Path) -> Option<u16> {
    let text = std::fs::read_to_string(kubeconfig).ok()?;
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server:"))?;
    let (_, port) = server.trim().trim_matches('"').rsplit_once(':')?;
    port.trim_end_matches('/').parse().ok()
}

/// Warns of databases that another daemon left in the instance's folder: their objects are not taken over.
pub(crate) fn name_its_databases(paths: &Paths) {
    if paths.database().exists() {
        return;
    }
    for entry in ownership::entries(&paths.dir).unwrap_or_default() {
        let is_database = entry
            .extension()
            .is_some_and(|extension| extension == "db" || extension == "sqlite");
        if is_database && !ownership::is_data(&entry) {
            tracing::warn!(
                target: crate::logging::RESULT,
                "{} is the database of another daemon; its objects are not taken over",
                entry.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_read_from_a_kubeconfig() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        for (text, expected) in [
            (
                "clusters:\n- cluster:\n    server: \"https://127.0.0.1:6445\"\n",
                Some(6445),
            ),
            ("    server: https://127.0.0.1:6443/\n", Some(6443)),
            ("junk", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(port(&file), expected, "{text}");
        }
    }
}
