//! A client of QEMU's control protocol, QMP, as far as the life of a VM needs it.
//!
//! Facts come from QEMU's `docs/interop/qmp-spec.rst` and `qapi/*.json`: the server greets with `{"QMP": …}`, refuses
//! everything until `qmp_capabilities`, answers each command with `return` or `error` and the command's `id`, and
//! sends events between answers. One message is one line. A socket has one client at a time: a second connection
//! waits without an answer until the first closes, so every operation here has a deadline.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{broadcast, mpsc, oneshot};

/// How long the greeting and the answer to `qmp_capabilities` may take. A QEMU under load answers within milliseconds;
/// a QEMU that is stopped, or busy with another client, never does.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long one command may take. The commands used here only set flags or read them.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(5);
/// The longest line that is read from QEMU. The commands used here answer in less than a kilobyte; a broken or foreign
/// peer must not fill this process's memory.
pub const MAX_LINE: u64 = 256 * 1024;
/// Events kept for a slow receiver. A VM sends a handful in its life; a receiver that lags gets an error and queries the
/// status again.
const EVENT_BACKLOG: usize = 64;
/// Commands waiting to be written.
const COMMAND_BACKLOG: usize = 16;

/// Why a QMP command failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QmpError {
    /// The connection is closed: QEMU ended, or closed it.
    #[error("QEMU closed its control connection")]
    Closed,
    /// QEMU did not answer in time.
    #[error("QEMU did not answer {what} within {} ms", .limit.as_millis())]
    TimedOut {
        /// The command or step that timed out.
        what: &'static str,
        /// The deadline that passed.
        limit: Duration,
    },
    /// QEMU answered with an error.
    #[error("QEMU refused {command}: {class}: {description}")]
    Refused {
        /// The command.
        command: &'static str,
        /// QEMU's error class, as `GenericError` or `CommandNotFound`.
        class: String,
        /// QEMU's text.
        description: String,
    },
    /// The peer does not speak QMP.
    #[error("the peer on QEMU's control socket does not speak QMP: {reason}")]
    Protocol {
        /// What was wrong with its message.
        reason: String,
    },
}

/// The run states of `query-status` that matter here (QEMU's `RunState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// The guest runs.
    Running,
    /// Stopped by `stop`, or by `-S` before it ever ran.
    Paused,
    /// Started with `-S` and not continued yet.
    Prelaunch,
    /// The guest powered off and QEMU was started with `-no-shutdown`.
    Shutdown,
    /// A file behind a disk is full or failed on the host, and QEMU stopped the guest.
    IoError,
    /// The guest reported a panic.
    GuestPanicked,
    /// QEMU or the accelerator hit an error that it cannot continue from.
    InternalError,
    /// The guest sleeps.
    Suspended,
    /// A state that this program does not distinguish.
    #[serde(other)]
    Other,
}

/// An event that QEMU sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QmpEvent {
    /// The guest or a command ended the machine. `guest`: the guest asked for it; `reason` is QEMU's
    /// `ShutdownCause`, as `guest-shutdown`, `host-qmp-quit`, `host-signal`, `guest-panic`.
    Shutdown {
        /// Whether the guest asked for it.
        guest: bool,
        /// QEMU's `ShutdownCause`.
        reason: String,
    },
    /// The guest restarts.
    Reset {
        /// Whether the guest asked for it.
        guest: bool,
        /// QEMU's `ShutdownCause`, as `guest-reset` or `host-qmp-system-reset`.
        reason: String,
    },
    /// The ACPI power button was pressed.
    PowerDown,
    /// The guest stopped executing.
    Stop,
    /// The guest continues.
    Resume,
    /// The guest reported a panic.
    GuestPanicked,
    /// A file behind a disk is full or failed on the host.
    BlockIoError {
        /// QEMU's text, as "No space left on device".
        reason: String,
    },
    /// Any other event, by name.
    Other(String),
}

/// A connection to one QEMU, ready for commands. Clones share the connection, which closes when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Qmp {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<QmpEvent>,
    version: String,
}

#[derive(Debug)]
struct Command {
    name: &'static str,
    arguments: Value,
    answer: oneshot::Sender<Result<Value, QmpError>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "QMP")]
    greeting: Option<Greeting>,
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<ErrorBody>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    version: Value,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

#[derive(Deserialize)]
struct Status {
    status: RunState,
}

impl Qmp {
    /// Reads the greeting from `stream` and leaves the negotiation mode.
    ///
    /// # Errors
    /// The peer does not greet within [`HANDSHAKE_DEADLINE`] (QEMU hangs, or has another client), or is not QEMU.
    pub async fn handshake<S>(stream: S) -> Result<Qmp, QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let mut lines = Lines::new(read);
        let greeting = tokio::time::timeout(HANDSHAKE_DEADLINE, lines.next())
            .await
            .map_err(|_| QmpError::TimedOut {
                what: "with its greeting",
                limit: HANDSHAKE_DEADLINE,
            })??
            .greeting
            .ok_or_else(|| QmpError::Protocol {
                reason: "its first line is not a greeting".into(),
            })?;
        let (commands, requests) = mpsc::channel(COMMAND_BACKLOG);
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        tokio::spawn(connection(lines, write, requests, events.clone()));
        let qmp = Qmp {
            commands,
            events,
            version: version_text(&greeting.version),
        };
        qmp.execute("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// Returns QEMU's version, as `10.0.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Subscribes to the events from now on. The channel closes when the connection does.
    pub fn events(&self) -> broadcast::Receiver<QmpEvent> {
        self.events.subscribe()
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        self.commands.closed().await;
    }

    /// `query-status`: whether the guest runs.
    ///
    /// # Errors
    /// As every command: the connection is closed, the answer is late, or QEMU refused.
    pub async fn status(&self) -> Result<RunState, QmpError> {
        let value = self.execute("query-status").await?;
        serde_json::from_value::<Status>(value)
            .map(|s| s.status)
            .map_err(|e| QmpError::Protocol {
                reason: format!("query-status: {e}"),
            })
    }

    /// `query-name`: the name given by `-name`, if any.
    ///
    /// # Errors
    /// As every command.
    pub async fn name(&self) -> Result<Option<String>, QmpError> {
        let value = self.execute("query-name").await?;
        Ok(value.get("name").and_then(Value::as_str).map(str::to_owned))
    }

    /// `query-uuid`: the machine's UUID; all zeroes if none was given.
    ///
    /// # Errors
    /// As every command.
    pub async fn uuid(&self) -> Result<String, QmpError> {
        let value = self.execute("query-uuid").await?;
        Ok(value
            .get("UUID")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned())
    }

    /// `query-kvm`: whether the guest runs on the hardware of a Linux host.
    ///
    /// # Errors
    /// As every command.
    pub async fn kvm_enabled(&self) -> Result<bool, QmpError> {
        let value = self.execute("query-kvm").await?;
        Ok(value
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(false))
    }

    /// Returns the port of the host that the user network forwards to `guest_port`, if any. QMP has no command for it; the
    /// monitor's `info usernet` prints a line for each forward (`net/slirp.c`, libslirp `slirp_connection_info`).
    ///
    /// # Errors
    /// As every command.
    pub async fn forwarded_port(&self, guest_port: u16) -> Result<Option<u16>, QmpError> {
        let arguments = json!({ "command-line": "info usernet" });
        let value = self
            .execute_with("human-monitor-command", arguments)
            .await?;
        Ok(forwarded_port(
            value.as_str().unwrap_or_default(),
            guest_port,
        ))
    }

    /// `system_powerdown`: presses the ACPI power button. A guest that does not listen yet loses the press silently.
    ///
    /// # Errors
    /// As every command.
    pub async fn power_down(&self) -> Result<(), QmpError> {
        self.execute("system_powerdown").await.map(drop)
    }

    /// `stop`: freezes the guest.
    ///
    /// # Errors
    /// As every command.
    pub async fn stop(&self) -> Result<(), QmpError> {
        self.execute("stop").await.map(drop)
    }

    /// `cont`: lets the guest continue.
    ///
    /// # Errors
    /// As every command.
    pub async fn resume(&self) -> Result<(), QmpError> {
        self.execute("cont").await.map(drop)
    }

    /// `quit`: ends QEMU at once; disks are flushed, the guest is not asked. A connection that closes instead of an answer
    /// counts as success.
    ///
    /// # Errors
    /// The answer is late, or QEMU refused.
    pub async fn quit(&self) -> Result<(), QmpError> {
        match self.execute("quit").await {
            Ok(_) | Err(QmpError::Closed) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn execute(&self, name: &'static str) -> Result<Value, QmpError> {
        self.execute_with(name, Value::Null).await
    }

    async fn execute_with(&self, name: &'static str, arguments: Value) -> Result<Value, QmpError> {
        let exchange = async {
            let (answer, result) = oneshot::channel();
            self.commands
                .send(Command {
                    name,
                    arguments,
                    answer,
                })
                .await
                .map_err(|_| QmpError::Closed)?;
            result.await.map_err(|_| QmpError::Closed)?
        };
        tokio::time::timeout(COMMAND_DEADLINE, exchange)
            .await
            .map_err(|_| QmpError::TimedOut {
                what: name,
                limit: COMMAND_DEADLINE,
            })?
    }
}

/// Owns the socket: writes commands, passes answers to the callers that wait for them, publishes events. Ends with the
/// connection, or when the last [`Qmp`] is dropped; dropping `pending` then fails every waiting caller.
async fn connection<R, W>(
    mut lines: Lines<R>,
    mut write: W,
    mut requests: mpsc::Receiver<Command>,
    events: broadcast::Sender<QmpEvent>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut pending: HashMap<u64, Command> = HashMap::new();
    let mut last_id = 0u64;
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(command) = request else { return };
                // Removes the commands whose callers stopped waiting; otherwise the map grows while QEMU hangs.
                pending.retain(|_, c| !c.answer.is_closed());
                last_id += 1;
                let mut line = match &command.arguments {
                    Value::Null => json!({ "execute": command.name, "id": last_id }),
                    given => json!({ "execute": command.name, "arguments": given, "id": last_id }),
                }
                .to_string();
                line.push('\n');
                pending.insert(last_id, command);
                // Waits for a peer that does not read; the socket's buffer holds thousands of commands.
                if write.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
            message = lines.next() => {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => {
                        if !matches!(error, QmpError::Closed) {
                            tracing::warn!(%error, "closing the control connection to QEMU");
                        }
                        return;
                    }
                };
                if let Some(name) = message.event {
                    // Sending fails only if there is no subscriber.
                    let _ = events.send(event(name, &message.data));
                } else if let Some(command) = message.id.and_then(|id| pending.remove(&id)) {
                    let result = match message.error {
                        Some(e) => Err(QmpError::Refused { command: command.name, class: e.class, description: e.desc }),
                        None => Ok(message.returned.unwrap_or(Value::Null)),
                    };
                    let _ = command.answer.send(result);
                }
            }
        }
    }
}

/// `TCP[HOST_FORWARD]  13  127.0.0.1 60022  10.0.2.15 22  0 0`
fn forwarded_port(usernet: &str, guest_port: u16) -> Option<u16> {
    usernet.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, _, _, host, _, guest, ..] = fields[..] else {
            return None;
        };
        (kind == "TCP[HOST_FORWARD]" && guest.parse() == Ok(guest_port))
            .then(|| host.parse().ok())?
    })
}

fn event(name: String, data: &Value) -> QmpEvent {
    let text = |key: &str| {
        data.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let guest = data.get("guest").and_then(Value::as_bool).unwrap_or(false);
    match name.as_str() {
        "SHUTDOWN" => QmpEvent::Shutdown {
            guest,
            reason: text("reason"),
        },
        "RESET" => QmpEvent::Reset {
            guest,
            reason: text("reason"),
        },
        "POWERDOWN" => QmpEvent::PowerDown,
        "STOP" => QmpEvent::Stop,
        "RESUME" => QmpEvent::Resume,
        "GUEST_PANICKED" => QmpEvent::GuestPanicked,
        "BLOCK_IO_ERROR" => QmpEvent::BlockIoError {
            reason: text("reason"),
        },
        _ => QmpEvent::Other(name),
    }
}

fn version_text(version: &Value) -> String {
    let part = |key: &str| {
        version
            .pointer(&format!("/qemu/{key}"))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    format!("{}.{}.{}", part("major"), part("minor"), part("micro"))
}

/// Reads messages, one a line, none longer than [`MAX_LINE`].
struct Lines<R> {
    reader: BufReader<R>,
    // Kept between calls, because `select!` can cancel `next` in the middle of a line.
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(read: R) -> Self {
        Lines {
            reader: BufReader::new(read),
            line: Vec::new(),
        }
    }

    async fn next(&mut self) -> Result<Message, QmpError> {
        let room = MAX_LINE.saturating_sub(self.line.len() as u64);
        // `read_until` keeps what it has read in `line` when it is cancelled.
        (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.line)
            .await
            .map_err(|_| QmpError::Closed)?;
        if self.line.last() != Some(&b'\n') {
            return Err(match self.line.len() as u64 {
                n if n >= MAX_LINE => QmpError::Protocol {
                    reason: format!("a line is longer than {MAX_LINE} bytes"),
                },
                _ => QmpError::Closed,
            });
        }
        let parsed = serde_json::from_slice(&self.line).map_err(|e| QmpError::Protocol {
            reason: e.to_string(),
        });
        self.line.clear();
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_port_is_parsed_from_the_monitors_output() {
        let text = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                    TCP[ESTABLISHED]   15       127.0.0.1 60022       10.0.2.15    22     0     0\r\n  \
                    TCP[HOST_FORWARD]  13       127.0.0.1 60023       10.0.2.15    22     0     0\r\n";
        assert_eq!(forwarded_port(text, 22), Some(60023));
        assert_eq!(forwarded_port(text, 80), None);
        assert_eq!(forwarded_port("", 22), None);
    }
}
