//! Accepts connections, speaks TLS and HTTP on them.

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

use super::Origin;
use crate::{handlers::status_reply, pki, server::Inner, status::ApiError, user::User};

/// Connections at once. A daemon serves one user; a thousand watchers share connections over HTTP/2.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request.
const MAX_HEADER: usize = 64 << 10;
/// Requests at once on a connection (HTTP/2), as Kubernetes.
const MAX_STREAMS: u32 = 250;
/// Writes under way at once, of all connections (Kubernetes: `--max-mutating-requests-inflight`); each may hold a body
/// of three megabytes. What is beyond is asked to try again, which clients do by themselves.
const MAX_WRITES: usize = 200;
/// How long requests under way may take once the server is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, then lets requests under way finish.
pub(crate) async fn serve(
    server: Arc<Inner>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let writes = Arc::new(Semaphore::new(MAX_WRITES));
    let graceful = GracefulShutdown::new();
    let closing = watch::Sender::new(false);
    let mut server_closing = server.closing();
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
            server: Arc::clone(&server),
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
        tracing::warn!("requests were still under way when the API server stopped");
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
    // Small answers wait for nothing.
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
    origin.user = user(stream.get_ref().1);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (origin, writes) = (origin.clone(), Arc::clone(&writes));
        async move {
            let reads = [hyper::Method::GET, hyper::Method::HEAD].contains(request.method());
            let place = writes.try_acquire().ok();
            if place.is_none() && !reads {
                return Ok::<_, Infallible>(status_reply(&ApiError::too_many_requests()));
            }
            // A read needs no place; a watch would keep it.
            let _place = place.filter(|_| !reads);
            Ok(super::respond(origin, request).await)
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

/// Who holds the client certificate, which rustls has verified.
fn user(connection: &rustls::ServerConnection) -> Option<User> {
    let certificate = connection.peer_certificates()?.first()?;
    let (name, mut groups) = pki::subject(certificate)?;
    groups.push(User::AUTHENTICATED.into());
    Some(User { name, groups })
}
