//! Measures the API server as a client sees it: HTTPS, HTTP/2, SQLite below. Prints `name value unit` lines.
//!
//! `cargo bench -p apiserver --bench load [-- SECONDS]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark measures time and prints what it measured; a failure may end it"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use apiserver::{Config, Server, User, pki::Pki};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use store::{IndexedStore, Options, Store};
use tower::ServiceExt as _;

const SECRETS: usize = 5_000;
const RATE: u32 = 200;
const WATCHERS: usize = 1_000;
const PATH: &str = "/api/v1/namespaces/default/secrets";

fn main() {
    let seconds = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(seconds));
}

async fn run(seconds: u32) {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(IndexedStore::sqlite(&dir.path().join("db"), Options::default()).unwrap());
    let started = Instant::now();
    let server = Server::new(Config::new(Arc::clone(&store))).await.unwrap();
    print("start", started.elapsed().as_secs_f64() * 1e3, "ms");
    rss("rss_idle");
    let pki = Pki::load_or_create(&dir.path().join("tls"), SystemTime::now()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, tls) = (server.clone(), pki.server_config().unwrap());
    tokio::spawn(async move { serving.serve(listener, tls, std::future::pending()).await });
    let client = connect(&pki, address).await;

    let filled = Instant::now();
    let creators = (0..64).map(|worker| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in (worker..SECRETS).step_by(64) {
                let secret = json!({
                    "metadata": {"name": format!("s{n}"), "labels": {"n": (n % 50).to_string()}},
                    "stringData": {"password": "x".repeat(600)},
                });
                ask(
                    client.clone(),
                    "POST",
                    PATH,
                    "application/json",
                    secret.to_string(),
                )
                .await;
            }
        })
    });
    for creator in creators.collect::<Vec<_>>() {
        creator.await.unwrap();
    }
    print(
        "creates_64_clients",
        SECRETS as f64 / filled.elapsed().as_secs_f64(),
        "1/s",
    );
    rss("rss_5000_secrets");

    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut requests = Vec::new();
    for n in 0..(RATE * seconds) as usize {
        ticks.tick().await;
        let client = client.clone();
        requests.push(tokio::spawn(async move {
            let begun = Instant::now();
            let path = format!("{PATH}/s{}", n * 7 % SECRETS);
            let patch = json!({"metadata": {"annotations": {"n": n.to_string()}}}).to_string();
            match n % 20 {
                0..12 => ask(client, "GET", &path, "", "").await,
                12..17 => {
                    ask(
                        client,
                        "PATCH",
                        &path,
                        "application/merge-patch+json",
                        patch,
                    )
                    .await;
                }
                17 | 18 => ask(client, "GET", &format!("{PATH}?limit=100"), "", "").await,
                _ => {
                    ask(
                        client,
                        "GET",
                        &format!("{PATH}?labelSelector=n%3D7"),
                        "",
                        "",
                    )
                    .await;
                }
            };
            begun.elapsed()
        }));
    }
    let mut times = Vec::new();
    for request in requests {
        times.push(request.await.unwrap());
    }
    report("request", times);

    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        ask(client.clone(), "GET", PATH, "", "").await;
        times.push(begun.elapsed());
    }
    report("list_5000", times);
    watchers(&server, client).await;
    rss("rss_end");
    store.close().await;
}

/// Measures the time from sending a write until each watcher has received it.
async fn watchers(server: &Server, client: SendRequest<Full<Bytes>>) {
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!(
            "{PATH}?watch=1&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
        );
        let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
        let response = server
            .service(User::master("bench"))
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        watches.push(response.into_body());
    }
    let mut times = Vec::new();
    for n in 0..20 {
        let patch = json!({"metadata": {"annotations": {"w": n.to_string()}}}).to_string();
        let waiting: Vec<_> = watches
            .drain(..)
            .map(|mut watch| {
                tokio::spawn(async move {
                    watch.frame().await.unwrap().unwrap();
                    (Instant::now(), watch)
                })
            })
            .collect();
        ask(
            client.clone(),
            "PATCH",
            &format!("{PATH}/s1"),
            "application/merge-patch+json",
            patch,
        )
        .await;
        let mut received = Vec::new();
        for task in waiting {
            let (at, watch) = task.await.unwrap();
            received.push(at);
            watches.push(watch);
        }
        let first = received.iter().min().copied().unwrap();
        times.extend(received.iter().map(|at| *at - first));
    }
    report("watch_1000_first_to_each", times);
}

async fn connect(pki: &Pki, address: std::net::SocketAddr) -> SendRequest<Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(pki.admin.cert_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pki.admin.key_pem.as_bytes()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_client_auth_cert(vec![certificate], key)
    .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect("127.0.0.1".try_into().unwrap(), stream)
        .await
        .unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(
    mut client: SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    media: &str,
    body: impl Into<Bytes>,
) {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://127.0.0.1{path}"))
        .header("content-type", media)
        .body(Full::new(body.into()))
        .unwrap();
    client.ready().await.unwrap();
    let response = client.send_request(request).await.unwrap();
    assert!(
        response.status().is_success(),
        "{method} {path}: {}",
        response.status()
    );
    response.into_body().collect().await.unwrap();
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let mean = times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    print(&format!("{name}_mean"), mean * 1e3, "ms");
    print(&format!("{name}_p99"), p99.as_secs_f64() * 1e3, "ms");
}

/// Resident memory of this process, the client included.
fn rss(name: &str) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return;
    };
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    if let Some(kib) = line.and_then(|l| l.trim().split(' ').next()?.parse::<f64>().ok()) {
        print(name, kib / 1024.0, "MiB");
    }
}

fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
