//! The agent's end of the serial line to the host.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use guestagent::protocol::{
    Envelope, FAILURE_TEXT_LIMIT, FAILURES_LIMIT, GUEST_SERIAL_PORT, GuestMessage, GuestStatus,
    LineReader, Phase, Request, VIRTIO_PORT, to_line,
};
use parking_lot::Mutex;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use rustix::time::{ClockId, Timespec, clock_settime};

use super::{files, identity, kernel_log, power};

/// Lines that wait to be written. While no hostagent is connected QEMU takes no bytes, and further lines are dropped; the
/// next hostagent asks for the status.
const QUEUE: usize = 32;
const READ_SIZE: usize = 4096;

/// The state that the host sees, and the queue of lines that report its changes.
#[derive(Clone)]
pub(crate) struct Channel {
    state: Arc<Mutex<GuestStatus>>,
    lines: SyncSender<Vec<u8>>,
}

impl Channel {
    /// Opens the port and answers the host in threads of its own. Without a port the state is kept and not sent.
    pub(crate) fn open() -> Self {
        let state = Arc::new(Mutex::new(GuestStatus {
            boot_id: files::text("/proc/sys/kernel/random/boot_id")
                .trim()
                .to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: Phase::Booting,
            uptime_millis: 0,
            unix_millis: 0,
            user: String::new(),
            host_keys: Vec::new(),
            failures: Vec::new(),
            provisioning: None,
        }));
        let (lines, queue) = sync_channel(QUEUE);
        let channel = Self { state, lines };
        match open_port() {
            Ok((reader, writer)) => {
                let answering = channel.clone();
                std::thread::spawn(move || write_lines(writer, &queue));
                std::thread::spawn(move || answering.answer(reader));
            }
            Err(error) => kernel_log::warning(&format!("no line to the host: {error}")),
        }
        channel
    }

    /// Changes the state and reports it to the host.
    pub(crate) fn update(&self, change: impl FnOnce(&mut GuestStatus)) {
        let status = {
            let mut state = self.state.lock();
            change(&mut state);
            stamped(&state)
        };
        self.send(&GuestMessage::Status { status });
    }

    /// Reports a failure to the host and in the journal.
    pub(crate) fn failure(&self, text: &str) {
        kernel_log::warning(text);
        let mut end = text.len().min(FAILURE_TEXT_LIMIT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.update(|state| {
            if state.failures.len() < FAILURES_LIMIT {
                state.failures.push(text[..end].to_owned());
            }
        });
    }

    fn send(&self, message: &GuestMessage) {
        let Ok(line) = to_line(message) else { return };
        if let Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) =
            self.lines.try_send(line)
        {
            // The line is dropped, see QUEUE.
        }
    }

    fn answer(&self, mut port: File) {
        let mut lines = LineReader::new();
        let mut bytes = [0_u8; READ_SIZE];
        loop {
            match port.read(&mut bytes) {
                Ok(0) => {
                    kernel_log::warning("the line to the host is closed");
                    return;
                }
                Ok(length) => lines
                    .push::<Envelope>(&bytes[..length])
                    .into_iter()
                    .for_each(|envelope| self.serve(&envelope)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    kernel_log::warning(&format!("the line to the host failed: {error}"));
                    return;
                }
            }
        }
    }

    fn serve(&self, envelope: &Envelope) {
        let error = match envelope.request {
            Request::Ping | Request::Status => None,
            Request::SetTime { unix_nanos } => {
                set_time(unix_nanos).err().map(|error| error.to_string())
            }
            Request::Poweroff => self.stop("poweroff"),
            Request::Reboot => self.stop("reboot"),
        };
        let status = stamped(&self.state.lock());
        self.send(&GuestMessage::Reply {
            id: envelope.id,
            error,
            status,
        });
    }

    /// Calls systemd in a thread of its own, so that the host gets its replies meanwhile.
    fn stop(&self, verb: &'static str) -> Option<String> {
        self.state.lock().phase = Phase::Stopping;
        let channel = self.clone();
        std::thread::spawn(move || {
            if let Err(error) = power::request(verb) {
                channel.failure(&format!("cannot {verb}: {error}"));
            }
        });
        None
    }
}

fn stamped(state: &GuestStatus) -> GuestStatus {
    let uptime = files::text("/proc/uptime");
    let seconds: f64 = uptime
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    GuestStatus {
        uptime_millis: (seconds * 1000.0) as u64,
        unix_millis: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        host_keys: if state.phase == Phase::Booting {
            Vec::new()
        } else {
            identity::public_host_keys()
        },
        ..state.clone()
    }
}

fn set_time(unix_nanos: i64) -> io::Result<()> {
    const NANOS: i64 = 1_000_000_000;
    let time = Timespec {
        tv_sec: unix_nanos.div_euclid(NANOS),
        tv_nsec: unix_nanos.rem_euclid(NANOS),
    };
    clock_settime(ClockId::Realtime, time)?;
    Ok(())
}

fn write_lines(mut port: File, queue: &Receiver<Vec<u8>>) {
    for line in queue {
        if let Err(error) = port.write_all(&line) {
            kernel_log::warning(&format!("cannot write to the host: {error}"));
        }
    }
}

/// Opens the second serial port, or the virtio port if the driver offers that instead.
fn open_port() -> io::Result<(File, File)> {
    let serial = open(GUEST_SERIAL_PORT.into()).and_then(|file| {
        // No echo, no line editing, no translation. A port without hardware fails with EIO.
        let mut attributes = tcgetattr(&file)?;
        attributes.make_raw();
        tcsetattr(&file, OptionalActions::Now, &attributes)?;
        Ok(file)
    });
    let port = serial.or_else(|error| {
        let path = PathBuf::from("/dev/virtio-ports").join(VIRTIO_PORT);
        if path.exists() {
            open(path)
        } else {
            Err(error)
        }
    })?;
    Ok((port.try_clone()?, port))
}

fn open(path: PathBuf) -> io::Result<File> {
    // O_NOCTTY: the port must not become the terminal of this session.
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
        .open(path)
}
