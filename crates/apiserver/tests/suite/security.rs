//! Access over real TLS, certificates, mounted services, the end of a server.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use apiserver::{
    ReadyCheck, User,
    http::mount::{MountedService, RequestBody, json_response, read_body},
    pki::{Pki, Renewal},
};
use http::Request;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Api, CONFIG_MAPS, Secure, send};

#[tokio::test]
async fn anonymous_clients_see_health_and_version_only() {
    let api = Api::start().await;
    let ask = |path: &'static str| send(api.server.anonymous_service(), Request::get(path), "");
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(ask(path).await.code, 200, "{path}");
    }
    for path in [
        "/",
        "/api",
        "/apis",
        "/api/v1/namespaces",
        "/openapi/v2",
        "/nothing",
        "/metrics",
    ] {
        assert_eq!(
            ask(path).await.refused(401, "Unauthorized"),
            "Unauthorized",
            "{path}"
        );
    }
    let guest = User {
        name: "guest".into(),
        groups: vec!["guests".into()],
    };
    let answer = send(api.server.service(guest), Request::get("/api"), "").await;
    answer.refused(403, "Forbidden");
}

#[tokio::test]
async fn readyz_succeeds_only_if_every_check_passes() {
    let api = Api::start().await;
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let check = Arc::clone(&ready);
    api.server.add_ready_check(ReadyCheck {
        name: "controllers".into(),
        check: Arc::new(move || {
            check
                .load(std::sync::atomic::Ordering::Relaxed)
                .then_some(())
                .ok_or_else(|| "not yet".into())
        }),
    });
    let answer = api.get("/readyz").await;
    assert_eq!(answer.code, 500);
    assert!(
        answer.text.contains("[-]controllers failed: not yet"),
        "{}",
        answer.text
    );
    assert_eq!(api.get("/livez").await.code, 200);
    ready.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(api.get("/readyz").await.text, "ok");
    assert!(
        api.get("/readyz?verbose")
            .await
            .text
            .contains("[+]controllers ok")
    );
}

/// Sends a GET over TLS, with or without the administrator's certificate; returns the whole answer.
async fn get(secure: &Secure, identity: Option<&Pki>, path: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(secure.pki.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(pki) => {
            let certificate =
                CertificateDer::from_pem_slice(pki.admin.cert_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pki.admin.key_pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let stream = tokio::net::TcpStream::connect(secure.address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect("127.0.0.1".try_into().unwrap(), stream)
        .await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn only_certificates_of_the_own_authority_are_accepted() {
    let secure = Secure::start().await;
    let pki = secure.pki.clone();
    assert!(
        get(&secure, None, "/healthz")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        get(&secure, None, "/api")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 401")
    );
    assert!(
        get(&secure, Some(&pki), "/api")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
    let other = tempfile::tempdir().unwrap();
    let stranger = Pki::load_or_create(other.path(), SystemTime::now()).unwrap();
    let answer = get(&secure, Some(&stranger), "/api").await;
    assert!(
        answer.is_err(),
        "a certificate of another authority: {answer:?}"
    );
}

#[tokio::test]
async fn stopping_the_server_ends_watches() {
    let mut secure = Secure::start().await;
    let pki = secure.pki.clone();
    let path = format!("{CONFIG_MAPS}?watch=1");
    let stop = secure.stop.take().unwrap();
    let watch = get(&secure, Some(&pki), &path);
    let end = async {
        // The connection is established once the server has answered on a later one.
        get(&secure, None, "/healthz").await.unwrap();
    };
    let serving = &secure.serving;
    let ended = async {
        end.await;
        stop.send(()).unwrap();
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(10), async {
        tokio::join!(watch, ended)
    })
    .await
    .unwrap();
    drop(answer);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !serving.is_finished() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the server did not end"
        );
        tokio::task::yield_now().await;
    }
    assert!(
        get(&secure, None, "/healthz").await.is_err(),
        "the listener is closed"
    );
}

fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mut modes: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort();
    modes
}

#[test]
fn valid_certificates_are_kept_and_others_issued_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a[1] *ü/tls");
    let now = SystemTime::now();
    let first = Pki::load_or_create(&dir, now).unwrap();
    let files = [
        "admin.crt",
        "admin.key",
        "ca.crt",
        "ca.key",
        "server.crt",
        "server.key",
    ];
    assert_eq!(modes(&dir), files.map(|name| (name.to_owned(), 0o600)));
    assert_eq!(
        std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let again = Pki::load_or_create(&dir, now).unwrap();
    assert_eq!(
        (&again.ca_pem, &again.server.cert_pem),
        (&first.ca_pem, &first.server.cert_pem)
    );

    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("missing", |path| std::fs::remove_file(path).unwrap()),
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("corrupt", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, text.replace('A', "B")).unwrap();
        }),
        ("not text", |path| {
            std::fs::write(path, [0xff, 0xfe]).unwrap();
        }),
        ("huge", |path| {
            std::fs::write(path, vec![b'x'; 1 << 20]).unwrap();
        }),
        ("a dangling link", |path| {
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/nowhere", path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        for file in files {
            let before = Pki::load_or_create(&dir, now).unwrap();
            damage(&dir.join(file));
            let after = Pki::load_or_create(&dir, now).unwrap();
            assert_eq!(
                before.ca_pem == after.ca_pem,
                !file.starts_with("ca."),
                "{what} {file}"
            );
            after.server_config().unwrap();
            assert_eq!(modes(&dir).len(), files.len(), "{what} {file}");
            assert!(
                modes(&dir).iter().all(|(_, mode)| *mode == 0o600),
                "{what} {file}"
            );
        }
    }

    let before = Pki::load_or_create(&dir, now).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let soon = Pki::load_or_create(&dir, now + 1500 * day).unwrap();
    assert_eq!(
        soon.ca_pem, before.ca_pem,
        "the authority is valid for longer"
    );
    assert_ne!(
        soon.server.cert_pem, before.server.cert_pem,
        "about to expire"
    );
    let late = Pki::load_or_create(&dir, now + 3600 * day).unwrap();
    assert_ne!(late.ca_pem, before.ca_pem);
}

/// Returns the certificate that the server presents to a new connection.
async fn presented(address: std::net::SocketAddr, pki: &Pki) -> Vec<u8> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = "127.0.0.1".try_into().unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].as_ref().to_vec()
}

#[tokio::test]
async fn renewed_certificate_is_presented_to_new_connections() {
    let api = Api::start().await;
    let home = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let pki = Pki::load_or_create(home.path(), now).unwrap();
    let mut renewal = Renewal::new(home.path().to_owned(), pki.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, tls) = (api.server.clone(), renewal.tls());
    let serving =
        tokio::spawn(async move { server.serve(listener, tls, std::future::pending()).await });
    let der = |pki: &Pki| {
        let certificate = CertificateDer::from_pem_slice(pki.server.cert_pem.as_bytes());
        certificate.unwrap().as_ref().to_vec()
    };
    assert!(
        renewal.check(now).unwrap().is_none(),
        "nothing expires soon"
    );
    assert_eq!(presented(address, &pki).await, der(&pki));
    let later = now + Duration::from_secs(4 * 366 * 24 * 3600);
    let renewed = renewal
        .check(later)
        .unwrap()
        .expect("the leaves expire soon")
        .clone();
    assert_eq!(renewed.ca_pem, pki.ca_pem);
    assert_eq!(presented(address, &renewed).await, der(&renewed));
    assert_ne!(der(&renewed), der(&pki));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_idle_connections_does_not_lock_out_the_owner() {
    let secure = Secure::start().await;
    let pki = secure.pki.clone();
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=60");
    let owner = get(&secure, Some(&pki), &path);
    tokio::pin!(owner);
    // More than the server accepts from anonymous clients, and few enough for an ordinary limit of descriptors.
    let mut idle = Vec::new();
    for _ in 0..300 {
        let connect = tokio::net::TcpStream::connect(secure.address);
        tokio::select! {
            stream = connect => idle.push(stream.unwrap()),
            answer = &mut owner => panic!("the owner's watch ended: {answer:?}"),
        }
    }
    // The oldest connections are closed for the newest.
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(4), idle[0].read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    let answer = get(&secure, Some(&pki), "/api").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn error_names_the_folder_that_cannot_be_created() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Pki::load_or_create(&file.join("tls"), SystemTime::now())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

/// A service that answers with the user, the path and the body of each request.
fn echo() -> MountedService {
    let answer = |request: Request<RequestBody>| async move {
        let user = request.extensions().get::<User>().unwrap().name.clone();
        let path = request.uri().path().to_owned();
        Ok(match read_body(request.into_body()).await {
            Ok(body) => {
                let body = String::from_utf8_lossy(&body).into_owned();
                json_response(&serde_json::json!({"user": user, "path": path, "body": body}))
            }
            Err(response) => response,
        })
    };
    MountedService::new(tower::service_fn(answer))
}

#[tokio::test]
async fn mounted_service_answers_below_its_prefix_after_access_control() {
    let api = Api::start().await;
    api.server.mount("/rdd/v1", echo());
    let ask = |service, path: &'static str| send(service, Request::post(path), "hello");
    let master = || api.server.service(User::master("me"));
    for path in ["/rdd/v1", "/rdd/v1/echo", "/rdd/v1/a/b"] {
        assert_eq!(
            ask(master(), path).await.ok(),
            serde_json::json!({"user": "me", "path": path, "body": "hello"})
        );
    }
    for path in ["/rdd", "/rdd/v10", "/rdd/v2/echo"] {
        assert_eq!(ask(master(), path).await.code, 404, "{path}");
    }
    let anonymous = ask(api.server.anonymous_service(), "/rdd/v1/echo").await;
    anonymous.refused(401, "Unauthorized");
    let user = User {
        name: "guest".into(),
        groups: Vec::new(),
    };
    let guest = ask(api.server.service(user), "/rdd/v1/echo").await;
    guest.refused(403, "Forbidden");
    let big = "x".repeat(4 << 20);
    let answer = send(master(), Request::post("/rdd/v1/echo"), big).await;
    answer.refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn longest_mounted_prefix_wins() {
    let api = Api::start().await;
    api.server.mount(
        "/rdd",
        MountedService::new(tower::service_fn(async |_| {
            Ok(json_response(&"short".into()))
        })),
    );
    api.server.mount(
        "/rdd/v1",
        MountedService::new(tower::service_fn(async |_| {
            Ok(json_response(&"long".into()))
        })),
    );
    assert_eq!(api.get("/rdd/v1/x").await.text, "\"long\"");
    assert_eq!(api.get("/rdd/x").await.text, "\"short\"");
}

#[tokio::test]
async fn impersonation_is_refused() {
    let api = Api::start().await;
    for (header, value) in [
        ("Impersonate-User", "guest"),
        ("Impersonate-Group", "system:masters"),
        ("Impersonate-Uid", "1"),
        ("Impersonate-Extra-Scopes", "view"),
    ] {
        let request = Request::get("/api/v1/secrets").header(header, value);
        let message = api.send(request, "").await.refused(403, "Forbidden");
        assert!(
            message.contains("does not support impersonation"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn access_review_answers_for_the_user_it_names() {
    let api = Api::start().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let allowed = async |spec: serde_json::Value| {
        let answer = api
            .post(path, &serde_json::json!({"spec": spec}))
            .await
            .ok();
        answer["status"]["allowed"].as_bool().unwrap()
    };
    let attributes = serde_json::json!({"verb": "list", "resource": "secrets"});
    assert!(!allowed(serde_json::json!({"user": "guest", "resourceAttributes": attributes})).await);
    let groups = serde_json::json!(["system:masters"]);
    assert!(
        allowed(
            serde_json::json!({"user": "me", "groups": groups, "resourceAttributes": attributes})
        )
        .await
    );
}

#[tokio::test]
async fn response_carries_the_audit_id_of_the_request() {
    let api = Api::start().await;
    let request = Request::get("/api").header("audit-id", "mine");
    assert_eq!(api.send(request, "").await.headers["audit-id"], "mine");
    let first = api.get("/api").await.headers["audit-id"].clone();
    assert_ne!(first, api.get("/api").await.headers["audit-id"]);
}
