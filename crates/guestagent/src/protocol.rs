//! What hostagent and guest say to each other: one JSON object a line, in both directions, over a serial port.
//!
//! A serial port has no connections. Whoever connects to the host's end finds a guest that is anywhere in its boot, and
//! may find half a line: so each side skips what it cannot parse, a line is bounded, and the guest repeats its whole
//! state when asked ([`Request::Status`]) instead of relying on events that nobody heard.
//!
//! ```text
//! host  -> guest  {"id":1,"request":"status"}
//! guest -> host   {"type":"reply","id":1,"status":{"bootId":"…","phase":"ready",…}}
//! guest -> host   {"type":"status","status":{"bootId":"…","phase":"provisioned",…}}      unasked, at each change
//! ```

use serde::{Deserialize, Serialize};

/// The longest line that either side sends or keeps, in bytes. The guest's status is below 4 KiB; the rest is room for
/// error texts. Longer lines are dropped.
pub const LINE_LIMIT: usize = 64 * 1024;

/// The most provision failures that a status carries, so that it stays below [`LINE_LIMIT`].
pub const FAILURES_LIMIT: usize = 16;

/// The longest text of one failure, in bytes.
pub const FAILURE_TEXT_LIMIT: usize = 2048;

/// The serial port inside the guest: the second one of the machine, whose driver is built into the kernel.
pub const GUEST_SERIAL_PORT: &str = "/dev/ttyS1";

/// The name of the virtio-serial port that is used where there is no second serial port. Lima's name.
pub const VIRTIO_PORT: &str = "io.lima-vm.guest_agent.0";

/// A request of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the host; the reply carries it.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What the host can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Request {
    /// Answer, nothing else: the agent lives.
    Ping,
    /// Answer with the whole state.
    Status,
    /// Set the guest's clock: after the host slept, or after a restore from a snapshot.
    SetTime {
        /// Nanoseconds since 1970-01-01 UTC. 64 bits last until the year 2262.
        unix_nanos: i64,
    },
    /// Shut the guest down in order, as its power button does. The answer comes before the shutdown.
    Poweroff,
    /// Restart the guest in order.
    Reboot,
}

/// A line of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum GuestMessage {
    /// The state changed.
    Status {
        /// The state now.
        status: GuestStatus,
    },
    /// The answer to a request.
    Reply {
        /// The id of the request.
        id: u64,
        /// Why it was not done; absent on success.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The state, after the request was done.
        status: GuestStatus,
    },
}

/// How far the boot is. Each phase includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The agent runs; no ssh yet.
    Booting,
    /// sshd listens, the user and its keys are there.
    Ready,
    /// The provision scripts of this boot have ended, well or badly: see [`GuestStatus::failures`].
    Provisioned,
    /// The guest is going down.
    Stopping,
}

/// The state of the guest as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestStatus {
    /// `/proc/sys/kernel/random/boot_id`: another value means that the guest booted again.
    pub boot_id: String,
    /// The version of the agent.
    pub agent_version: String,
    /// How far the boot is.
    pub phase: Phase,
    /// Milliseconds since the guest's kernel started.
    pub uptime_millis: u64,
    /// The guest's clock, in milliseconds since 1970-01-01 UTC.
    pub unix_millis: i64,
    /// The user that was set up from the cidata disk; empty until then.
    #[serde(default)]
    pub user: String,
    /// The public host keys of sshd (`ssh-ed25519 AAAA…`), so that the host can pin them.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// What went wrong so far, a sentence each, at most [`FAILURES_LIMIT`]; a failed provision script is here.
    #[serde(default)]
    pub failures: Vec<String>,
}

/// Writes a message as a line, with its line end.
///
/// # Errors
/// The message cannot be written as JSON, which these types never cause.
pub fn to_line<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Cuts a byte stream into lines and drops what is longer than [`LINE_LIMIT`].
#[derive(Debug, Default)]
pub struct LineReader {
    pending: Vec<u8>,
    skipping: bool,
}

impl LineReader {
    /// A reader with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read and returns the messages that became complete. Lines that do not parse are dropped: the
    /// first one after a connect may be the end of something longer, and a terminal may have answered.
    pub fn push<T: for<'de> Deserialize<'de>>(&mut self, bytes: &[u8]) -> Vec<T> {
        let mut messages = Vec::new();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let ended = part.ends_with(b"\n");
            if !self.skipping {
                self.pending.extend_from_slice(part);
            }
            if ended {
                if !self.skipping
                    && let Ok(message) = serde_json::from_slice(&self.pending)
                {
                    messages.push(message);
                }
                self.pending.clear();
                self.skipping = false;
            } else if self.pending.len() > LINE_LIMIT {
                self.pending.clear();
                self.skipping = true;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> GuestStatus {
        GuestStatus {
            boot_id: "b".into(),
            agent_version: "0.1.0".into(),
            phase: Phase::Ready,
            uptime_millis: 3100,
            unix_millis: 1_700_000_000_000,
            user: "dev".into(),
            host_keys: vec!["ssh-ed25519 AAAA".into()],
            failures: vec![],
        }
    }

    #[test]
    fn the_lines_are_what_the_documentation_says() {
        let cases = [
            (Request::Ping, r#"{"id":7,"request":"ping"}"#),
            (Request::Status, r#"{"id":7,"request":"status"}"#),
            (
                Request::SetTime { unix_nanos: 5 },
                r#"{"id":7,"request":"set-time","unixNanos":5}"#,
            ),
            (Request::Poweroff, r#"{"id":7,"request":"poweroff"}"#),
            (Request::Reboot, r#"{"id":7,"request":"reboot"}"#),
        ];
        for (request, line) in cases {
            let envelope = Envelope { id: 7, request };
            assert_eq!(
                to_line(&envelope).unwrap(),
                format!("{line}\n").into_bytes()
            );
            assert_eq!(
                LineReader::new().push::<Envelope>(format!("{line}\n").as_bytes()),
                [envelope]
            );
        }
        let reply = GuestMessage::Reply {
            id: 1,
            error: None,
            status: status(),
        };
        let line = String::from_utf8(to_line(&reply).unwrap()).unwrap();
        assert!(
            line.starts_with(r#"{"type":"reply","id":1,"status":{"bootId":"b","#),
            "{line}"
        );
    }

    #[test]
    fn messages_arrive_whatever_the_pieces_and_the_noise_around_them() {
        let one = to_line(&GuestMessage::Status { status: status() }).unwrap();
        let mut stream = b"ail of a line\"}}\n\r\nlogin: root\n".to_vec();
        stream.extend_from_slice(&one);
        stream.extend_from_slice(b"{\"type\":\"unknown\"}\n");
        stream.extend_from_slice(&one);
        for size in [1, 7, stream.len()] {
            let mut reader = LineReader::new();
            let found: Vec<GuestMessage> = stream
                .chunks(size)
                .flat_map(|chunk| reader.push(chunk))
                .collect();
            assert_eq!(found.len(), 2, "pieces of {size} bytes");
        }
    }

    #[test]
    fn an_endless_line_is_dropped_and_the_next_one_is_read() {
        let mut reader = LineReader::new();
        for _ in 0..(4 * LINE_LIMIT / 1024) {
            assert!(reader.push::<Envelope>(&[b'x'; 1024]).is_empty());
            assert!(reader.pending.len() <= LINE_LIMIT + 1024);
        }
        assert_eq!(
            reader
                .push::<Envelope>(b"\n{\"id\":1,\"request\":\"ping\"}\n")
                .len(),
            1
        );
    }

    #[test]
    fn phases_are_ordered_so_that_a_host_can_wait_for_at_least_one() {
        assert!(Phase::Booting < Phase::Ready && Phase::Ready < Phase::Provisioned);
    }
}
