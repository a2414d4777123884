//! The files of a running QEMU, all in the instance folder.

use std::path::PathBuf;

use lima::layout::InstanceDir;

use crate::machine::{LogFile, MachineFiles};

/// The files that QEMU, and the driver for it, make in an instance folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuFiles {
    /// QEMU's control socket.
    pub qmp_socket: PathBuf,
    /// The host's end of the guest agent's channel.
    pub agent_socket: PathBuf,
    /// What the guest wrote to its first serial line.
    pub serial_log: PathBuf,
    /// What QEMU wrote to stderr.
    pub stderr_log: PathBuf,
    /// How QEMU was started: see [`crate::MachineRecord`].
    pub record: PathBuf,
    /// The lock that QEMU holds for its whole life.
    pub lock: PathBuf,
    /// A second name of `qmp_socket`, in case the first is removed.
    pub qmp_spare: PathBuf,
    /// A second name of `agent_socket`.
    pub agent_spare: PathBuf,
}

impl QemuFiles {
    /// The files of the QEMU in `dir`.
    pub fn of(dir: &InstanceDir) -> QemuFiles {
        QemuFiles {
            qmp_socket: dir.qmp_sock(),
            agent_socket: dir.ga_sock(),
            serial_log: dir.serial_log(),
            stderr_log: dir.path().join("qemu.stderr.log"),
            record: dir.path().join("qemu.json"),
            lock: dir.path().join("qemu.lock"),
            qmp_spare: dir.path().join("qmp.spare"),
            agent_spare: dir.path().join("ga.spare"),
        }
    }

    /// The sockets and their second names.
    pub(super) fn sockets(&self) -> [&PathBuf; 4] {
        [
            &self.qmp_socket,
            &self.agent_socket,
            &self.qmp_spare,
            &self.agent_spare,
        ]
    }

    /// What the rest of the program needs to know of these files.
    pub(super) fn public(&self) -> MachineFiles {
        let log = |writer, path: &PathBuf| LogFile {
            writer,
            path: path.clone(),
        };
        MachineFiles {
            agent_socket: Some(self.agent_socket.clone()),
            transient: self.sockets().map(Clone::clone).to_vec(),
            logs: vec![
                log("QEMU", &self.stderr_log),
                log("the guest's console", &self.serial_log),
            ],
        }
    }
}
