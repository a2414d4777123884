//! Accepts connections and serves HTTPS on them.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    anonymous::{AnonymousPlace, AnonymousPool},
    frontend::Frontend,
    request::{self, Origin},
    tls::Tls,
};
use crate::{access::authenticate, handlers::reply::status_reply, status::ApiError};

/// The number of concurrent connections of authenticated clients. A daemon serves one user, and a thousand watches share
/// connections over HTTP/2.
const MAX_CONNECTIONS: usize = 1024;
/// The number of concurrent connections whose client is not authenticated, including those in the TLS handshake. A new
/// one replaces the oldest. A handshake takes milliseconds, so an attacker would have to open tens of thousands of
/// connections per second to replace the owner's connection before it is authenticated.
const MAX_ANONYMOUS: usize = 256;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection without a client certificate lives. It can request health and version only.
const ANONYMOUS_LIFETIME: Duration = Duration::from_secs(10);
/// How long an authenticated client waits for a place among [`MAX_CONNECTIONS`].
const PLACE_TIMEOUT: Duration = Duration::from_secs(30);
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
    tls: Tls,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let anonymous = AnonymousPool::new(MAX_ANONYMOUS);
    let limits = Limits {
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        writes: Arc::new(Semaphore::new(MAX_WRITES)),
    };
    let graceful = GracefulShutdown::new();
    let closing = watch::Sender::new(false);
    let mut server_closing = frontend.closing();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = server_closing.wait_for(|closing| *closing) => break,
            stream = accept(&listener, &anonymous) => stream,
        };
        let incoming = Incoming {
            stream,
            acceptor: TlsAcceptor::from(tls.current()),
            place: anonymous.enter(),
        };
        let origin = Origin {
            frontend: Arc::clone(&frontend),
            user: None,
            closing: closing.subscribe(),
        };
        tokio::spawn(connection(
            origin,
            limits.clone(),
            incoming,
            graceful.watcher(),
        ));
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

/// The limits that all connections share.
#[derive(Clone)]
struct Limits {
    connections: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

/// An accepted connection before the TLS handshake.
struct Incoming {
    stream: TcpStream,
    acceptor: TlsAcceptor,
    place: AnonymousPlace,
}

async fn accept(listener: &TcpListener, anonymous: &AnonymousPool) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // The usual cause is that the process has no file descriptor left.
                anonymous.evict_oldest();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection: as an anonymous one until its client is authenticated.
async fn connection(mut origin: Origin, limits: Limits, incoming: Incoming, watcher: Watcher) {
    let Incoming {
        stream,
        acceptor,
        mut place,
    } = incoming;
    // Sends small answers at once.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = tokio::select! {
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("TLS handshake took too long");
                return;
            }
        },
        () = place.evicted() => {
            tracing::debug!("too many anonymous connections: closed the oldest during its TLS handshake");
            return;
        }
    };
    origin.user = authenticate::user_of(stream.get_ref().1);
    if origin.user.is_none() {
        let serving = serve_http(origin, limits.writes, stream, watcher);
        tokio::select! {
            _ = tokio::time::timeout(ANONYMOUS_LIFETIME, serving) => {}
            () = place.evicted() => tracing::debug!("too many anonymous connections: closed the oldest"),
        }
        return;
    }
    drop(place);
    let permit = tokio::time::timeout(PLACE_TIMEOUT, limits.connections.acquire_owned()).await;
    let Ok(Ok(_permit)) = permit else {
        tracing::warn!("closed a connection: {MAX_CONNECTIONS} authenticated connections are open");
        return;
    };
    serve_http(origin, limits.writes, stream, watcher).await;
}

async fn serve_http(
    origin: Origin,
    writes: Arc<Semaphore>,
    stream: TlsStream<TcpStream>,
    watcher: Watcher,
) {
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
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
