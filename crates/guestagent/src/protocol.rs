//! The protocol between hostagent and guest agent: one JSON object a line, in both directions, over a serial port.
//!
//! A serial port has no connections. The hostagent may connect at any moment of the guest's boot and may receive half a
//! line. So each side skips lines that it cannot parse, the length of a line is bounded, and the guest sends its whole state
//! on request ([`Request::Status`]), because events that were sent before are lost.
//!
//! ```text
//! host  -> guest  {"id":1,"request":"status"}
//! guest -> host   {"type":"reply","id":1,"status":{"bootId":"…","phase":"ready",…}}
//! guest -> host   {"type":"status","status":{"bootId":"…","phase":"provisioned",…}}      at each change
//! guest -> host   {"type":"provisioning","provisioning":{"done":true,"failed":[…]}}      from a guest without agent
//! ```

use serde::{Deserialize, Serialize};

/// The longest line that either side sends or keeps, in bytes. A status without failures has less than 4 KiB; the rest is
/// room for error texts. Longer lines are dropped.
pub const LINE_LIMIT: usize = 64 * 1024;

/// The most failures, and the most failed scripts, in a status. They keep it below [`LINE_LIMIT`].
pub const FAILURES_LIMIT: usize = 16;

/// The longest text of one failure, in bytes.
pub const FAILURE_TEXT_LIMIT: usize = 1024;

/// The longest [`FailedScript::last_lines`], in bytes.
pub const LAST_LINES_LIMIT: usize = 600;

/// The serial port inside the guest: the machine's second one. Its driver is built into the kernel.
pub const GUEST_SERIAL_PORT: &str = "/dev/ttyS1";

/// The virtio-serial port for machines without a second serial port. The name is Lima's.
pub const VIRTIO_PORT: &str = "io.lima-vm.guest_agent.0";

/// A request of the host with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the host and repeated in the reply.
    pub id: u64,
    /// The request.
    #[serde(flatten)]
    pub request: Request,
}

/// A request of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Request {
    /// Reply only, as a sign of life.
    Ping,
    /// Reply with the whole state.
    Status,
    /// Set the guest's clock, after the host was suspended or the guest was restored from a snapshot.
    SetTime {
        /// Nanoseconds since 1970-01-01 UTC. 64 bits last until the year 2262.
        unix_nanos: i64,
    },
    /// Shut the guest down in order, as its power button does. The reply comes before the shutdown.
    Poweroff,
    /// Restart the guest in order.
    Reboot,
}

/// A message of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum GuestMessage {
    /// The state has changed.
    Status {
        /// The new state.
        status: GuestStatus,
    },
    /// The reply to a request.
    Reply {
        /// The id of the request.
        id: u64,
        /// The error if the request failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The state after the request.
        status: GuestStatus,
    },
    /// How far the provision scripts are. Sent by `boot.sh` in guests without agent; the agent's status contains it.
    Provisioning {
        /// The scripts of this boot.
        provisioning: Provisioning,
    },
}

/// The provision scripts of one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Provisioning {
    /// Whether every script has ended, successfully or not.
    pub done: bool,
    /// The number of scripts.
    pub total: u32,
    /// The number of scripts that have ended.
    pub ended: u32,
    /// The script that runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The scripts that failed, at most [`FAILURES_LIMIT`].
    pub failed: Vec<FailedScript>,
}

/// A provision script that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedScript {
    /// The script's path on the cidata disk, such as `provision.system/00000002`. The number is the index in `provision`.
    pub script: String,
    /// The exit code, if the script ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why the script could not be started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The end of the script's output, at most [`LAST_LINES_LIMIT`] bytes.
    pub last_lines: String,
}

/// How far the boot is. Each phase includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The agent runs, and ssh does not yet.
    Booting,
    /// sshd listens, and the user and the user's keys are set up.
    Ready,
    /// The provision scripts of this boot have ended, successfully or not: see [`GuestStatus::provisioning`].
    Provisioned,
    /// The guest is shutting down.
    Stopping,
}

/// The state of the guest as the agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestStatus {
    /// `/proc/sys/kernel/random/boot_id`: it differs after each boot of the guest.
    pub boot_id: String,
    /// The version of the agent.
    pub agent_version: String,
    /// How far the boot is.
    pub phase: Phase,
    /// Milliseconds since the guest's kernel started.
    pub uptime_millis: u64,
    /// The guest's clock, in milliseconds since 1970-01-01 UTC.
    pub unix_millis: i64,
    /// The user that the cidata disk asks for; empty until the account exists.
    #[serde(default)]
    pub user: String,
    /// The public host keys of sshd (`ssh-ed25519 AAAA…`), so that the host can pin them.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// What failed so far, a sentence each, at most [`FAILURES_LIMIT`]. Includes failed provision scripts.
    #[serde(default)]
    pub failures: Vec<String>,
    /// The provision scripts of this boot. `None` from an agent of an older image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<Box<Provisioning>>,
}

/// Returns a message as a line with its line end.
///
/// # Errors
/// The message has no JSON form. These types always have one.
pub fn to_line<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Cuts a byte stream into messages. Drops lines that are longer than [`LINE_LIMIT`].
#[derive(Debug, Default)]
pub struct LineReader {
    pending: Vec<u8>,
    skipping: bool,
}

impl LineReader {
    /// Returns an empty reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes and returns the messages that became complete. Drops lines that do not parse: the first line after a
    /// connect may be the end of a longer one, and a terminal may have written to the port.
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
            provisioning: None,
        }
    }

    #[test]
    fn messages_have_the_documented_json() {
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
    fn messages_are_read_from_any_pieces_and_between_noise() {
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
    fn a_line_beyond_the_limit_is_dropped_and_the_next_is_read() {
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
    fn a_report_of_provisioning_has_the_documented_json() {
        let line = r#"{"type":"provisioning","provisioning":{"done":true,"total":2,"ended":2,"failed":[{"script":"provision.system/00000001","exitCode":3,"lastLines":"no such host"}]}}"#;
        let expected = GuestMessage::Provisioning {
            provisioning: Provisioning {
                done: true,
                total: 2,
                ended: 2,
                running: None,
                failed: vec![FailedScript {
                    script: "provision.system/00000001".into(),
                    exit_code: Some(3),
                    last_lines: "no such host".into(),
                    ..FailedScript::default()
                }],
            },
        };
        assert_eq!(
            to_line(&expected).unwrap(),
            format!("{line}\n").into_bytes()
        );
        let read: Vec<GuestMessage> = LineReader::new().push(format!("{line}\n").as_bytes());
        assert_eq!(read, [expected]);
    }

    #[test]
    fn the_largest_status_fits_into_a_line() {
        // Quotes and line ends take two bytes in JSON.
        let failed = FailedScript {
            script: "provision.dependency/00000000".into(),
            exit_code: Some(i32::MIN),
            last_lines: "\n".repeat(LAST_LINES_LIMIT),
            ..FailedScript::default()
        };
        let status = GuestStatus {
            failures: vec!["\"".repeat(FAILURE_TEXT_LIMIT); FAILURES_LIMIT],
            provisioning: Some(Box::new(Provisioning {
                failed: vec![failed; FAILURES_LIMIT],
                ..Provisioning::default()
            })),
            ..status()
        };
        let line = to_line(&GuestMessage::Status { status }).unwrap();
        assert!(line.len() < LINE_LIMIT, "{}", line.len());
    }

    #[test]
    fn phases_are_ordered_by_the_progress_of_the_boot() {
        assert!(Phase::Booting < Phase::Ready && Phase::Ready < Phase::Provisioned);
    }
}
