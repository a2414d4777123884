//! Accepts connections and serves HTTPS on them.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use super::{
    frontend::Frontend,
    request::{self, Origin},
};
use crate::{access::authenticate, handlers::reply::status_reply, status::ApiError};

/// The number of concurrent connections. A daemon serves one user, and a thousand watches share connections over
/// HTTP/2.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The size of the head of a request, in bytes.
const MAX_HEADER: usize = 64 << 10;
/// The number of concurrent requests on an HTTP/2 connection (Kubernetes' default).
const MAX_STREAMS: u32 = 250;
/// The number of in-flight writes of all connections (Kubernetes: `--max-mutating-requests-inflight`); each may hold a
/// body of three megabytes. Further writes get 429, which makes clients retry.
const MAX_WRITES: usize = 200;
/// How long in-flight requests may take once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed accept, which out of file descriptors would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, then waits for in-flight requests.
pub(crate) async fn serve(
    frontend: Arc<Frontend>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let writes = Arc::new(Semaphore::new(MAX_WRITES));
    let graceful = GracefulShutdown::new();
    let closing = watch::Sender::new(false);
    let mut server_closing = frontend.closing();
    tokio::pin!(shutdown);
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = server_closing.wait_for(|closing| *closing) => break,
            accepted = accept(&listener, &places) => accepted?,
        };
        let (acceptor, watcher) = (acceptor.clone(), graceful.watcher());
        let writes = Arc::clone(&writes);
        let origin = Origin {
            frontend: Arc::clone(&frontend),
            user: None,
            closing: closing.subscribe(),
        };
        tokio::spawn(async move {
            let _place = place;
            connection(origin, writes, acceptor, stream, watcher).await;
        });
    }
    drop(listener);
    closing.send_replace(true);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the API server stopped while requests were still in flight");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(|e| io::Error::other(e.to_string()))?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, place)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut origin: Origin,
    writes: Arc<Semaphore>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Sends small answers at once.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long");
            return;
        }
    };
    origin.user = authenticate::user_of(stream.get_ref().1);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (origin, writes) = (origin.clone(), Arc::clone(&writes));
        async move {
            let reads = [hyper::Method::GET, hyper::Method::HEAD].contains(request.method());
            let place = writes.try_acquire().ok();
            if place.is_none() && !reads {
                return Ok::<_, Infallible>(status_reply(&ApiError::too_many_requests()));
            }
            // Reads need no permit, which a watch would keep for its whole life.
            let _place = place.filter(|_| !reads);
            Ok(request::respond(origin, request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER as u32);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(error, "a connection ended early");
    }
}
