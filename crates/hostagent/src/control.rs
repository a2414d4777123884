//! `ha.sock`: HTTP/1.1 for clients that read the status, watch it, or stop the VM.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/info` | [`Info`](crate::status::Info), which includes Lima's fields |
//! | `GET /v1/events` | a stream of [`Event`](crate::status::Event)s, one JSON object a line, starting with the current status |
//! | `POST /v1/stop?grace=30s` | 202 at once; the VM is gone within the grace period and 10 s |
//! | `POST /v1/detach` | 202 at once; the hostagent exits and its VM goes on |
//!
//! Only the owner can use the socket (mode 0600, in a folder of mode 0700, and the peer's user is checked; on Windows a
//! named pipe with an access list). Its task only reads the status and passes commands on, so it answers in every phase.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, mpsc};

use crate::report::Report;
use crate::sys;

/// Connections served at once: a daemon, a front end and a few commands. Further connections wait.
const CONNECTIONS: usize = 64;
/// How long a client may take to send its request, which is one line.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// The pause after a failed accept. Most likely no descriptor is free, and some will be closed soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest grace period. Longer ones are cut to it.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// A command of a client to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Stop the VM within the grace period; the default one if `None`.
    Stop(Option<Duration>),
    /// Exit and leave the VM running.
    Detach,
}

type Body = BoxBody<Bytes, Infallible>;

/// The server on `ha.sock`.
#[derive(Debug)]
pub(crate) struct Control {
    accepting: tokio::task::JoinHandle<()>,
    slots: Arc<Semaphore>,
}

impl Control {
    /// Listens on `socket`, where no file may be, and answers from now on.
    pub(crate) fn start(
        socket: &Path,
        report: Arc<Report>,
        commands: mpsc::Sender<Command>,
    ) -> io::Result<Control> {
        let listener = sys::Listener::bind(socket)?;
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = tokio::spawn(accept(listener, slots.clone(), report, commands));
        Ok(Control { accepting, slots })
    }

    /// Accepts no more connections, ends the streams after the last event, and waits at most `limit` until the clients have
    /// read it.
    pub(crate) async fn stop(self, report: &Report, limit: Duration) {
        self.accepting.abort();
        report.close();
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        // Clients that do not read in time find the events in the log.
        let _ = tokio::time::timeout(limit, self.slots.acquire_many(all)).await;
    }
}

async fn accept(
    mut listener: sys::Listener,
    slots: Arc<Semaphore>,
    report: Arc<Report>,
    commands: mpsc::Sender<Command>,
) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok(Some(stream)) => stream,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on ha.sock");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (report, commands) = (report.clone(), commands.clone());
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, report.clone(), commands.clone()));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_DEADLINE)
                // One request for each connection, so that no idle connection keeps a slot.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection on ha.sock ended early");
            }
            drop(slot);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    report: Arc<Report>,
    commands: mpsc::Sender<Command>,
) -> Result<Response<Body>, Infallible> {
    let response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/info") => json(StatusCode::OK, &report.info()),
        (&Method::GET, "/v1/events") => events(&report),
        (&Method::POST, "/v1/stop") => match grace_of(request.uri().query()) {
            Ok(grace) => pass_on(&commands, Command::Stop(grace)).await,
            Err(reason) => text(StatusCode::BAD_REQUEST, reason),
        },
        (&Method::POST, "/v1/detach") => pass_on(&commands, Command::Detach).await,
        (_, "/v1/info" | "/v1/events" | "/v1/stop" | "/v1/detach") => text(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong method for this path".into(),
        ),
        (_, path) => text(StatusCode::NOT_FOUND, format!("no such path: {path}")),
    };
    Ok(response)
}

async fn pass_on(commands: &mpsc::Sender<Command>, command: Command) -> Response<Body> {
    match commands.send(command).await {
        Ok(()) => text(StatusCode::ACCEPTED, String::new()),
        // The supervisor has ended, so the hostagent is exiting, as requested.
        Err(_) => text(StatusCode::ACCEPTED, String::new()),
    }
}

fn events(report: &Report) -> Response<Body> {
    let lines = report.subscribe().map(|event| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Ok(Frame::data(Bytes::from(line)))
    });
    respond(
        StatusCode::OK,
        "application/x-ndjson",
        BodyExt::boxed(StreamBody::new(lines)),
    )
}

/// Reads `grace=30s` (also `500ms`, `2m`, plain seconds) from a query.
fn grace_of(query: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(value) = query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("grace="))
    else {
        return Ok(None);
    };
    let wrong = || format!("grace={value} is not a duration; write it as 30s, 500ms, 2m or 0");
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let number: u64 = value[..digits].parse().map_err(|_| wrong())?;
    let grace = match &value[digits..] {
        "" | "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => return Err(wrong()),
    };
    Ok(Some(grace.min(LONGEST_GRACE)))
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(
            status,
            "application/json",
            Full::new(Bytes::from(bytes)).boxed(),
        ),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, message: String) -> Response<Body> {
    respond(
        status,
        "text/plain; charset=utf-8",
        Full::new(Bytes::from(message)).boxed(),
    )
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    response
}

#[cfg(test)]
mod tests {
    use lima::layout::{InstanceDir, LimaHome};
    use tempfile::TempDir;

    use super::*;
    use crate::client::{Client, ClientError};
    use crate::status::Phase;

    /// Longer than any step takes; only failing tests reach it.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn instance() -> (TempDir, InstanceDir) {
        let home = tempfile::tempdir().unwrap();
        let dir = LimaHome::new(home.path()).instance("web").unwrap();
        std::fs::create_dir_all(dir.path()).unwrap();
        (home, dir)
    }

    fn report(dir: &InstanceDir) -> Arc<Report> {
        let identity = process::Identity::of_current().unwrap();
        Arc::new(Report::new(crate::run::first_info(dir, identity), None))
    }

    #[tokio::test]
    async fn h12_client_reads_watches_and_stops_over_the_socket() {
        let (_home, dir) = instance();
        let report = report(&dir);
        let (sender, mut commands) = mpsc::channel(1);
        assert!(matches!(
            Client::connect(&dir).await,
            Err(ClientError::Connect { .. })
        ));
        let control = Control::start(&dir.ha_sock(), report.clone(), sender).unwrap();
        let client = Client::connect(&dir).await.unwrap();
        assert_eq!(client.info().await.unwrap(), report.info());

        let mut events = client.events().await.unwrap();
        let mut phase = async || {
            let event = tokio::time::timeout(PATIENCE, events.next()).await;
            event.unwrap().map(|event| event.unwrap().phase.unwrap())
        };
        assert_eq!(phase().await, Some(Phase::Preparing));
        report.update(Some("test"), |info| info.phase = Phase::Exiting);
        assert_eq!(phase().await, Some(Phase::Exiting));

        let grace = Duration::from_secs(7);
        client.stop(grace).await.unwrap();
        assert_eq!(commands.recv().await, Some(Command::Stop(Some(grace))));
        client.detach().await.unwrap();
        assert_eq!(commands.recv().await, Some(Command::Detach));

        control.stop(&report, PATIENCE).await;
        assert_eq!(phase().await, None);
        assert!(client.info().await.is_err());
    }

    #[tokio::test]
    async fn many_concurrent_clients_are_all_answered() {
        let (_home, dir) = instance();
        let report = report(&dir);
        let (sender, _commands) = mpsc::channel(1);
        let _control = Control::start(&dir.ha_sock(), report.clone(), sender).unwrap();
        // More clients than are served at once; on Windows more than wait on the pipe (Wine takes 20 ms for each, and a
        // client waits three seconds at most).
        let clients = if cfg!(windows) { 24 } else { 2 * CONNECTIONS };
        let asked = (0..clients).map(|_| async {
            let client = Client::connect(&dir).await.unwrap();
            client.info().await.unwrap()
        });
        for info in futures::future::join_all(asked).await {
            assert_eq!(info, report.info());
        }
    }

    #[tokio::test]
    async fn h34_second_server_cannot_listen() {
        #[cfg(windows)]
        if testutils::differs_under_wine("a pipe's first instance can be made twice") {
            return;
        }
        let (_home, dir) = instance();
        let (sender, _commands) = mpsc::channel(1);
        let _first = Control::start(&dir.ha_sock(), report(&dir), sender.clone()).unwrap();
        assert!(Control::start(&dir.ha_sock(), report(&dir), sender).is_err());
    }

    #[test]
    fn grace_is_parsed_in_all_usual_forms() {
        let cases = [
            (None, Ok(None)),
            (Some("x=1"), Ok(None)),
            (Some("grace=0"), Ok(Some(Duration::ZERO))),
            (Some("grace=30s"), Ok(Some(Duration::from_secs(30)))),
            (
                Some("a=b&grace=500ms"),
                Ok(Some(Duration::from_millis(500))),
            ),
            (Some("grace=2m"), Ok(Some(Duration::from_secs(120)))),
            (Some("grace=999999999999h"), Ok(Some(LONGEST_GRACE))),
            (Some("grace="), Err(())),
            (Some("grace=-1s"), Err(())),
            (Some("grace=99999999999999999999"), Err(())),
            (Some("grace=5x"), Err(())),
        ];
        for (query, expected) in cases {
            assert_eq!(grace_of(query).map_err(|_| ()), expected, "{query:?}");
        }
    }
}
