//! Who is let in, over real TLS; certificates; the end of a server.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use apiserver::{
    ReadyCheck, User,
    endpoint::{Endpoint, Refusal},
    pki::Pki,
};
use http::Request;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Api, CONFIG_MAPS, Secure, send};

#[tokio::test]
async fn strangers_see_health_and_version_only() {
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
    let nobody = User {
        name: "nobody".into(),
        groups: vec!["strangers".into()],
    };
    let answer = send(api.server.service(nobody), Request::get("/api"), "").await;
    answer.refused(403, "Forbidden");
}

#[tokio::test]
async fn ready_means_ready() {
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
async fn only_certificates_of_our_authority_open_the_door() {
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
async fn the_end_of_the_server_ends_watches() {
    let mut secure = Secure::start().await;
    let pki = secure.pki.clone();
    let path = format!("{CONFIG_MAPS}?watch=1");
    let stop = secure.stop.take().unwrap();
    let watch = get(&secure, Some(&pki), &path);
    let end = async {
        // The connection stands once the server has answered on another one.
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
        "nobody listens any more"
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
fn certificates_are_kept_while_they_are_good_and_made_anew_when_not() {
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
    assert_eq!(soon.ca_pem, before.ca_pem, "the authority lives longer");
    assert_ne!(
        soon.server.cert_pem, before.server.cert_pem,
        "about to expire"
    );
    let late = Pki::load_or_create(&dir, now + 3600 * day).unwrap();
    assert_ne!(late.ca_pem, before.ca_pem);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Pki::load_or_create(&file.join("tls"), SystemTime::now())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

/// Tells who asked for what.
struct Echo;

#[async_trait::async_trait]
impl Endpoint for Echo {
    fn path(&self) -> &'static str {
        "/rdd/v1/echo"
    }

    async fn post(&self, user: &User, body: &[u8]) -> Result<serde_json::Value, Refusal> {
        match std::str::from_utf8(body) {
            Ok(text) => Ok(serde_json::json!({ "user": user.name, "said": text })),
            Err(_) => Err(Refusal {
                code: 409,
                reason: "Conflict",
                message: "no text".into(),
            }),
        }
    }
}

#[tokio::test]
async fn a_path_of_the_programs_own_is_guarded_like_the_others() {
    let api = Api::start().await;
    api.server.add_endpoint(Arc::new(Echo));
    let ask = |service, body: &'static [u8]| send(service, Request::post("/rdd/v1/echo"), body);
    let answer = ask(api.server.service(User::master("me")), b"hello").await;
    assert_eq!(
        answer.ok(),
        serde_json::json!({ "user": "me", "said": "hello" })
    );
    let answer = ask(api.server.service(User::master("me")), b"\xff").await;
    assert_eq!(answer.refused(409, "Conflict"), "no text");
    let answer = ask(api.server.anonymous_service(), b"hello").await;
    answer.refused(401, "Unauthorized");
    let answer = api.get("/rdd/v1/echo").await;
    answer.refused(405, "MethodNotAllowed");
    assert_eq!(api.get("/rdd/v1/other").await.code, 404);
}
