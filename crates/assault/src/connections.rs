//! Many connections: anonymous ones that stay idle, uploads that never end, watchers that never read.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::plane::{CONFIG_MAPS, Shared, until};
use crate::trial::{Outcome, Trial};

/// A connection that is not set up in this time is refused, which is the server's right.
const SET_UP: Duration = Duration::from_secs(5);
/// How long the attackers stay after they have all come, while the owner goes on asking.
const STAY: Duration = Duration::from_secs(3);
/// Attackers that come at once. More would measure this program's own TLS.
const AT_ONCE: usize = 64;
/// How long memory may take to come back after the attackers have gone.
const RECOVERY: Duration = Duration::from_secs(60);
/// What may stay resident after they have gone, beyond what was resident before.
const MAY_STAY: u64 = 64 << 20;

/// What a connection does after it is open.
#[derive(Clone, Copy)]
enum Manner {
    /// Sends no byte, not even of a TLS handshake.
    Silent,
    /// Ends the handshake and sends nothing.
    AfterHandshake,
    /// Sends the beginning of an HTTP/1 request.
    HalfRequest,
    /// Sends the preface of HTTP/2 and its settings.
    Http2Preface,
    /// Announces a body of 1 GiB and sends a little of it.
    Upload,
}

pub(crate) fn trials(count: usize) -> Vec<Trial> {
    let mut trials: Vec<Trial> = [
        ("that send nothing", Manner::Silent),
        (
            "that end the handshake and send nothing",
            Manner::AfterHandshake,
        ),
        ("with half an HTTP/1 request", Manner::HalfRequest),
        ("with an HTTP/2 preface", Manner::Http2Preface),
        ("that upload without an end", Manner::Upload),
    ]
    .into_iter()
    .map(|(what, manner)| {
        Trial::new(
            format!("connections: {count} anonymous ones {what}"),
            async move |plane: Shared| crowd(&plane, count, manner).await,
        )
    })
    .collect();
    trials.push(Trial::new(
        "connections: 300 watchers that never read",
        async |plane: Shared| watchers(&plane, 300).await,
    ));
    trials
}

/// The attackers come, stay and go; afterwards the memory that they took is given back.
async fn crowd(plane: &Shared, count: usize, manner: Manner) -> Outcome {
    let before = plane.memory().ok_or("the daemon ended")?.1;
    let (address, connector, name) = target(plane)?;
    let mut crowd = Vec::with_capacity(count);
    while crowd.len() < count {
        let coming = (0..AT_ONCE.min(count - crowd.len()))
            .map(|_| timeout(SET_UP, open(&address, &connector, &name, manner)));
        // Those that the server refuses count too: it may end a connection at any time.
        crowd.extend(join_all(coming).await.into_iter().map(Result::ok));
    }
    sleep(STAY).await;
    drop(crowd);
    memory_returns(plane, before).await
}

type Stream = (
    Option<TcpStream>,
    Option<tokio_rustls::client::TlsStream<TcpStream>>,
);

async fn open(
    address: &str,
    connector: &TlsConnector,
    name: &ServerName<'static>,
    manner: Manner,
) -> std::io::Result<Stream> {
    let tcp = TcpStream::connect(address).await?;
    let text: &[u8] = match manner {
        Manner::Silent => return Ok((Some(tcp), None)),
        Manner::AfterHandshake => b"",
        Manner::HalfRequest => b"GET /version HTTP/1.1\r\nHost: x\r\n",
        Manner::Http2Preface => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        Manner::Upload => {
            b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n{"
        }
    };
    let mut tls = connector.connect(name.clone(), tcp).await?;
    tls.write_all(text).await?;
    tls.flush().await?;
    Ok((None, Some(tls)))
}

/// The server's address, and a connector without a client certificate.
fn target(plane: &Shared) -> Result<(String, TlsConnector, ServerName<'static>), String> {
    let url = &plane.config.cluster_url;
    let host = url.host().ok_or("the kubeconfig names no host")?;
    let port = url.port_u16().ok_or("the kubeconfig names no port")?;
    let mut roots = RootCertStore::empty();
    for certificate in plane.config.root_cert.iter().flatten() {
        let der = CertificateDer::from_pem_slice(certificate)
            .unwrap_or_else(|_| CertificateDer::from(certificate.clone()));
        roots.add(der).map_err(|error| error.to_string())?;
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    Ok((
        format!("{host}:{port}"),
        TlsConnector::from(Arc::new(tls)),
        name,
    ))
}

/// Watches that are opened and never read, while large objects change.
async fn watchers(plane: &Shared, count: usize) -> Outcome {
    let before = plane.memory().ok_or("the daemon ended")?.1;
    let mut bodies = Vec::with_capacity(count);
    for _ in 0..count {
        let request = http::Request::get(format!("{CONFIG_MAPS}?watch=1"))
            .body(kube::client::Body::empty())
            .map_err(|error| error.to_string())?;
        let client =
            kube::Client::try_from(plane.config.clone()).map_err(|error| error.to_string())?;
        match timeout(SET_UP, client.send(request)).await {
            Ok(Ok(answer)) => bodies.push((client, answer.into_body())),
            // The server may refuse more watchers than it wants.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    for round in 0..40 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("large-{round}")},
            "data": {"large": "x".repeat(200_000)}});
        plane.post(CONFIG_MAPS, &map).await?;
        plane
            .delete(&format!("{CONFIG_MAPS}/large-{round}"))
            .await?;
    }
    drop(bodies);
    memory_returns(plane, before).await
}

async fn memory_returns(plane: &Shared, before: u64) -> Outcome {
    until(RECOVERY, async || {
        let (_, now) = plane.memory().ok_or("the daemon ended")?;
        if now <= before + MAY_STAY {
            Ok(())
        } else {
            Err(format!(
                "{} MiB stay resident, {} MiB were before",
                now >> 20,
                before >> 20
            ))
        }
    })
    .await
}
