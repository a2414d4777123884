//! The line to the agent inside the guest: `guestagent::protocol` over `ga.sock`.
//!
//! The socket is QEMU's and leads to a serial port of the guest. It is there as soon as QEMU is, whether or not anybody
//! listens inside; so the agent counts as connected once it has said something, and is asked until it does.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guestagent::protocol::{Envelope, GuestMessage, GuestStatus, LineReader, Request, to_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};

/// How often the agent is asked until it answers for the first time.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Between two attempts to connect: QEMU is gone, or another hostagent is just leaving.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long a line of ours may wait to be taken. The serial port's buffer takes it at once, unless nobody has read it
/// for long.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);
/// How long the agent may take to answer. It is a process in a guest that may be emulated and busy.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Requests and news that wait at most.
const BACKLOG: usize = 16;

/// What is heard from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestNews {
    /// The agent's state, at each change and after each answer.
    Status(GuestStatus),
    /// The line is broken; it is being made again.
    Lost,
}

/// Why the agent did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GuestError {
    #[error("the guest agent did not answer within {} s", ANSWER_DEADLINE.as_secs())]
    TimedOut,
    #[error("the line to the guest agent is broken")]
    Broken,
    #[error("the guest agent refused: {0}")]
    Refused(String),
}

/// The line to one guest's agent. Ends with its last clone.
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
    /// Opens the line and keeps it open.
    pub(crate) fn open(socket: PathBuf) -> (GuestChannel, mpsc::Receiver<GuestNews>) {
        let (requests, asked) = mpsc::channel(BACKLOG);
        let (news, heard) = mpsc::channel(BACKLOG);
        tokio::spawn(keep_open(socket, asked, news));
        (GuestChannel { requests }, heard)
    }

    /// Asks the agent for something and waits for its answer, a bounded time.
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
            tracing::debug!(%error, socket = %socket.display(), "the line to the guest agent");
        } else {
            return;
        }
        if news.send(GuestNews::Lost).await.is_err() {
            return;
        }
        // Whoever asks while the line is broken is told so by the dropped answer.
        tokio::select! {
            () = tokio::time::sleep(RECONNECT) => {}
            request = asked.recv() => if request.is_none() { return },
        }
    }
}

/// One connection, until it breaks. `Ok` when nobody wants it any more.
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
    let mut heard_of = false;
    let mut buffer = vec![0u8; 4096];
    let mut ask_again = interval_at(Instant::now(), ASK_AGAIN);
    loop {
        let request = tokio::select! {
            read = read.read(&mut buffer) => {
                let count = read?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for message in lines.push::<GuestMessage>(&buffer[..count]) {
                    heard_of = true;
                    let status = match message {
                        GuestMessage::Status { status } => status,
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
            _ = ask_again.tick(), if !heard_of => Request::Status,
        };
        last_id += 1;
        let line = to_line(&Envelope {
            id: last_id,
            request,
        })
        .map_err(io::Error::other)?;
        // A guest whose agent is not there yet leaves its serial port unread, and the buffers fill up in the end.
        match timeout(WRITE_DEADLINE, write.write_all(&line)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
