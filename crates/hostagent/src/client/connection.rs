//! The client of `ha.sock`.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lima::layout::InstanceDir;

use crate::status::{Event, Info};
use crate::sys;

/// How long a request may take. The hostagent answers from memory, but may be swapped out.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer that is read: an [`Info`] has two kilobytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Why a request to a hostagent failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process listens on the socket.
    #[error("cannot reach the hostagent on {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The hostagent did not answer in time.
    #[error("the hostagent on {} did not answer {request} within {} ms", socket.display(), limit.as_millis())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The request.
        request: &'static str,
        /// The deadline that passed.
        limit: Duration,
    },
    /// The hostagent refused, closed the connection, or sent an invalid answer.
    #[error("the hostagent on {} failed {request}: {reason}", socket.display())]
    Failed {
        /// The socket.
        socket: PathBuf,
        /// The request.
        request: &'static str,
        /// Why.
        reason: String,
    },
}

/// A hostagent that listens. Holds no connection, because each call makes its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// The events of a VM, starting with its current status; ends when the hostagent does.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event, ClientError>> + Send>>;

impl Client {
    /// Connects to the hostagent of `dir`.
    ///
    /// # Errors
    /// No process listens on `ha.sock`.
    pub async fn connect(dir: &InstanceDir) -> Result<Client, ClientError> {
        let client = Client {
            socket: dir.ha_sock(),
        };
        client.bounded("connect", client.open()).await?;
        Ok(client)
    }

    /// `GET /v1/info`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn info(&self) -> Result<Info, ClientError> {
        const REQUEST: &str = "GET /v1/info";
        let body = self
            .bounded(REQUEST, self.call(REQUEST, Method::GET, "/v1/info"))
            .await?;
        serde_json::from_slice(&body).map_err(|error| self.failed(REQUEST, &error))
    }

    /// `GET /v1/events`.
    ///
    /// # Errors
    /// [`ClientError`], also within the stream.
    pub async fn events(&self) -> Result<Events, ClientError> {
        const REQUEST: &str = "GET /v1/events";
        let response = self
            .bounded(REQUEST, self.send(REQUEST, Method::GET, "/v1/events"))
            .await?;
        let client = self.clone();
        let state = (BodyStream::new(response.into_body()), Vec::new());
        let lines = stream::unfold(Some(state), move |state| {
            let client = client.clone();
            async move {
                let (mut body, mut buffer): (_, Vec<u8>) = state?;
                loop {
                    if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = buffer.drain(..=end).collect();
                        let event = serde_json::from_slice(&line)
                            .map_err(|error| client.failed(REQUEST, &error));
                        return Some((event, Some((body, buffer))));
                    }
                    if buffer.len() > ANSWER_LIMIT {
                        return Some((Err(client.failed(REQUEST, &"a line is too long")), None));
                    }
                    match body.next().await? {
                        Ok(frame) => {
                            buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
                        }
                        Err(error) => return Some((Err(client.failed(REQUEST, &error)), None)),
                    }
                }
            }
        });
        Ok(Box::pin(lines))
    }

    /// `POST /v1/stop`: asks the hostagent to stop its VM within `grace`, in every phase. Returns at once; the VM and the
    /// hostagent are gone within `grace` + 10 s ([`super::wait_gone`]).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(&self, grace: Duration) -> Result<(), ClientError> {
        const REQUEST: &str = "POST /v1/stop";
        let path = format!("/v1/stop?grace={}ms", grace.as_millis());
        self.bounded(REQUEST, self.call(REQUEST, Method::POST, &path))
            .await
            .map(drop)
    }

    /// `POST /v1/detach`: asks the hostagent to exit and to leave its VM running, for the next hostagent.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn detach(&self) -> Result<(), ClientError> {
        const REQUEST: &str = "POST /v1/detach";
        self.bounded(REQUEST, self.call(REQUEST, Method::POST, "/v1/detach"))
            .await
            .map(drop)
    }

    async fn open(&self) -> Result<sys::ClientStream, ClientError> {
        sys::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Connect {
                socket: self.socket.clone(),
                source,
            })
    }

    async fn send(
        &self,
        request: &'static str,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.open().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(request, &error))?;
        // The task ends with the body's last byte, or when the body is dropped.
        tokio::spawn(connection);
        let message = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "hostagent")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failed(request, &error))?;
        let response = sender
            .send_request(message)
            .await
            .map_err(|error| self.failed(request, &error))?;
        match response.status() {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(response),
            status => {
                let text = self.read(request, response).await?;
                let text = String::from_utf8_lossy(&text);
                Err(self.failed(request, &format!("{status}: {}", text.trim())))
            }
        }
    }

    async fn call(
        &self,
        request: &'static str,
        method: Method,
        path: &str,
    ) -> Result<Bytes, ClientError> {
        let response = self.send(request, method, path).await?;
        self.read(request, response).await
    }

    async fn read(
        &self,
        request: &'static str,
        response: Response<Incoming>,
    ) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_LIMIT)
            .collect()
            .await;
        Ok(body
            .map_err(|error| self.failed(request, &error))?
            .to_bytes())
    }

    async fn bounded<T>(
        &self,
        request: &'static str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(REQUEST_DEADLINE, work)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::TimedOut {
                    socket: self.socket.clone(),
                    request,
                    limit: REQUEST_DEADLINE,
                })
            })
    }

    fn failed(&self, request: &'static str, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Failed {
            socket: self.socket.clone(),
            request,
            reason: reason.to_string(),
        }
    }
}
