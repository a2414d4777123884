//! A server over a store in memory, and short calls of it.

use std::sync::Arc;

use apiserver::{ApiService, Config, ResponseBody, Server, User, pki::Pki};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use store::{IndexedStore, Options, Store};
use tower::ServiceExt as _;

/// A definition with the schema features that the tests need.
pub(crate) fn widgets() -> Value {
    serde_json::from_str(include_str!("widgets.json")).unwrap()
}

/// A widget with this spec and the reference that the schema requires.
pub(crate) fn widget(name: &str, spec: Value) -> Value {
    let mut all = json!({"ref": {"name": "x"}});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": all})
}

pub(crate) fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Returns the object of a response that must be a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.code),
            "{} {}",
            self.code,
            self.text
        );
        self.json()
    }

    /// Returns the message of an error that must have this code and reason.
    #[track_caller]
    pub(crate) fn refused(&self, code: u16, reason: &str) -> String {
        let status = self.json();
        assert_eq!(
            (self.code, status["reason"].as_str()),
            (code, Some(reason)),
            "{}",
            self.text
        );
        assert_eq!(
            (status["kind"].as_str(), status["code"].as_u64()),
            (Some("Status"), Some(code.into()))
        );
        status["message"].as_str().unwrap().into()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers
            .get_all("warning")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect()
    }
}

/// A server and a client of it.
pub(crate) struct Api {
    pub(crate) server: Server,
    pub(crate) store: Arc<dyn Store>,
    service: ApiService,
}

impl Api {
    /// Starts a server that serves widgets.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let store: Arc<dyn Store> = Arc::new(IndexedStore::memory(Options::default()).unwrap());
        Self::over(store, change).await
    }

    pub(crate) async fn over(store: Arc<dyn Store>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Arc::clone(&store));
        config.crds = vec![widgets()];
        config.namespaces = vec!["rdd-system".into()];
        change(&mut config);
        let server = Server::new(config).await.unwrap();
        Self {
            service: server.service(User::master("test")),
            server,
            store,
        }
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answer {
        send(self.service.clone(), request, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            Request::post(path).header("content-type", "application/json"),
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            Request::put(path).header("content-type", "application/json"),
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path), "").await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.send(
            Request::delete(path).header("content-type", "application/json"),
            options.to_string(),
        )
        .await
    }

    /// `kind`: `merge`, `json`, `strategic-merge`, `apply`.
    pub(crate) async fn patch(&self, kind: &str, path: &str, body: &Value) -> Answer {
        let media = match kind {
            "json" => "application/json-patch+json".into(),
            "apply" => "application/apply-patch+yaml".into(),
            kind => format!("application/{kind}-patch+json"),
        };
        self.send(
            Request::patch(path).header("content-type", media),
            body.to_string(),
        )
        .await
    }

    /// Polls until the answer is 404.
    pub(crate) async fn wait_gone(&self, path: &str) {
        self.wait(path, |answer| answer.code == 404).await;
    }

    /// Polls until the answer is as wanted.
    pub(crate) async fn wait(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{path} stayed: {} {}",
                answer.code,
                answer.text
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Starts a watch.
    pub(crate) async fn watch(&self, path: &str) -> Frames {
        let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Frames(response.into_body())
    }
}

pub(crate) async fn send(
    service: ApiService,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    let response = service
        .oneshot(request.body(Full::new(body.into())).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.into()).unwrap(),
    }
}

/// A running watch.
pub(crate) struct Frames(ResponseBody);

impl Frames {
    /// Returns the next event; `None` if the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), self.0.frame());
        let bytes = frame
            .await
            .expect("an event within ten seconds")?
            .unwrap()
            .into_data()
            .unwrap();
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// Returns type and name of the next event.
    pub(crate) async fn next_change(&mut self) -> String {
        let event = self.next().await.expect("an event");
        format!(
            "{} {}",
            event["type"].as_str().unwrap(),
            event["object"]["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
        )
    }
}

/// A server over HTTPS, with certificates in a folder of its own.
pub(crate) struct Secure {
    pub(crate) api: Api,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Secure {
    pub(crate) async fn start() -> Self {
        let api = Api::start().await;
        let dir = tempfile::tempdir().unwrap();
        let pki =
            Pki::load_or_create(&dir.path().join("tls"), std::time::SystemTime::now()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (server, tls) = (api.server.clone(), pki.server_config().unwrap());
        let serving = tokio::spawn(async move {
            server
                .serve(listener, tls, async {
                    let _ = stopped.await;
                })
                .await
        });
        std::fs::write(
            dir.path().join("config"),
            pki.kubeconfig(&format!("https://{address}"), "rancher-desktop-test"),
        )
        .unwrap();
        Self {
            api,
            dir,
            pki,
            address,
            stop: Some(stop),
            serving,
        }
    }
}
