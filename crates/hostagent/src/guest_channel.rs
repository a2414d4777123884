//! The connection to the agent inside the guest: `guestagent::protocol` over `ga.sock`.
//!
//! The socket is QEMU's and leads to a serial port of the guest. It exists as soon as QEMU runs, whether or not an agent
//! listens inside. So the agent counts as connected after its first message, and is asked until then.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guestagent::protocol::{Envelope, GuestMessage, GuestStatus, LineReader, Request, to_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};

/// How often the agent is asked until it answers for the first time.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Between two attempts to connect, which fail while QEMU is gone or an earlier hostagent is still connected.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long writing a line may take. The serial port's buffer takes it at once, unless the guest has not read for long.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);
/// How long the agent may take to answer. The guest may be emulated and busy.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// The most requests and news that wait.
const BACKLOG: usize = 16;

/// News from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestNews {
    /// The agent's state, at each change and after each answer.
    Status(GuestStatus),
    /// The connection broke and is being restored.
    Lost,
}

/// Why a request to the agent failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GuestError {
    #[error("the guest agent did not answer within {} s", ANSWER_DEADLINE.as_secs())]
    TimedOut,
    #[error("the connection to the guest agent is broken")]
    Broken,
    #[error("the guest agent refused: {0}")]
    Refused(String),
}

/// The connection to one guest's agent. Closes when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct GuestChannel {
    requests: mpsc::Sender<Asked>,
}

#[derive(Debug)]
struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<GuestStatus, GuestError>>,
}

impl GuestChannel {
    /// Connects, and reconnects whenever the connection breaks.
    pub(crate) fn open(socket: PathBuf) -> (GuestChannel, mpsc::Receiver<GuestNews>) {
        let (requests, asked) = mpsc::channel(BACKLOG);
        let (news, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(keep_open(socket, asked, news));
        (GuestChannel { requests }, receiver)
    }

    /// Sends a request and waits for the answer, a bounded time.
    pub(crate) async fn ask(&self, request: Request) -> Result<GuestStatus, GuestError> {
        let exchange = async {
            let (answer, result) = oneshot::channel();
            self.requests
                .send(Asked { request, answer })
                .await
                .map_err(|_| GuestError::Broken)?;
            result.await.map_err(|_| GuestError::Broken)?
        };
        timeout(ANSWER_DEADLINE, exchange)
            .await
            .map_err(|_| GuestError::TimedOut)?
    }
}

async fn keep_open(
    socket: PathBuf,
    mut asked: mpsc::Receiver<Asked>,
    news: mpsc::Sender<GuestNews>,
) {
    loop {
        if let Err(error) = talk(&socket, &mut asked, &news).await {
            tracing::debug!(%error, socket = %socket.display(), "the connection to the guest agent broke");
        } else {
            return;
        }
        if news.send(GuestNews::Lost).await.is_err() {
            return;
        }
        // A request while the connection is broken fails, because its answer is dropped.
        tokio::select! {
            () = tokio::time::sleep(RECONNECT) => {}
            request = asked.recv() => if request.is_none() { return },
        }
    }
}

/// Serves one connection until it breaks. `Ok` if the last [`GuestChannel`] was dropped.
async fn talk(
    socket: &Path,
    asked: &mut mpsc::Receiver<Asked>,
    news: &mpsc::Sender<GuestNews>,
) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(crate::sys::connect(socket).await?);
    let mut lines = LineReader::new();
    let mut pending: HashMap<u64, oneshot::Sender<Result<GuestStatus, GuestError>>> =
        HashMap::new();
    let mut last_id = 0u64;
    let mut has_reported = false;
    let mut buffer = vec![0u8; 4096];
    let mut ask_tick = interval_at(Instant::now(), ASK_INTERVAL);
    loop {
        let request = tokio::select! {
            read = read.read(&mut buffer) => {
                let count = read?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for message in lines.push::<GuestMessage>(&buffer[..count]) {
                    has_reported = true;
                    let status = match message {
                        GuestMessage::Status { status } => status,
                        // For guests without agent; nothing uses it yet.
                        GuestMessage::Provisioning { .. } => continue,
                        GuestMessage::Reply { id, error, status } => {
                            if let Some(answer) = pending.remove(&id) {
                                let _ = answer.send(match error {
                                    Some(reason) => Err(GuestError::Refused(reason)),
                                    None => Ok(status.clone()),
                                });
                            }
                            status
                        }
                    };
                    if news.send(GuestNews::Status(status)).await.is_err() {
                        return Ok(());
                    }
                }
                continue;
            }
            request = asked.recv() => match request {
                Some(Asked { request, answer }) => {
                    pending.retain(|_, waiting| !waiting.is_closed());
                    pending.insert(last_id + 1, answer);
                    request
                }
                None => return Ok(()),
            },
            _ = ask_tick.tick(), if !has_reported => Request::Status,
        };
        last_id += 1;
        let line = to_line(&Envelope {
            id: last_id,
            request,
        })
        .map_err(io::Error::other)?;
        // A guest without an agent does not read its serial port, and the buffers fill up.
        match timeout(WRITE_DEADLINE, write.write_all(&line)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
