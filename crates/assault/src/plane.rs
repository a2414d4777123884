//! The control plane under attack: an instance with its daemon, and the clients that talk to it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testutils::Instance;

/// An answer takes milliseconds; a request that is refused for its cost may take seconds on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);
/// A daemon that starts, on a busy machine.
const START: Duration = Duration::from_secs(120);
/// Between two looks at something that changes soon.
const LOOK: Duration = Duration::from_millis(50);
/// Answers beyond this size are a failure by themselves: a refusal never needs so much.
pub(crate) const MAX_ANSWER: usize = 8 << 20;

pub(crate) const JSON: &str = "application/json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The instance, and the owner's client of its daemon.
pub(crate) struct Plane {
    pub(crate) instance: Instance,
    pub(crate) client: Client,
    pub(crate) config: kube::Config,
    pid: u32,
}

/// An answer of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Status and the beginning of the body, for a report.
    pub(crate) fn brief(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        format!("{} {text}", self.status)
    }

    /// Whether the server accepted or refused the request, in contrast to failing over it.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.status, 200..=299 | 400..=499) && self.body.len() <= MAX_ANSWER
    }
}

impl Plane {
    /// Starts a daemon for `instance` and connects to it as its owner.
    pub(crate) async fn start(instance: Instance) -> Result<Self, String> {
        let output = instance.rdd_within(&["svc", "start"], START);
        if !output.status.success() {
            return Err(format!(
                "svc start failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let config = config(&instance).await?;
        let client = Client::try_from(config.clone()).map_err(|error| error.to_string())?;
        let pid = daemon_pid(&instance)?;
        Ok(Self {
            instance,
            client,
            config,
            pid,
        })
    }

    /// Starts a daemon again after a trial that ended it or stopped it.
    pub(crate) async fn start_again(self) -> Result<Self, String> {
        Self::start(self.instance).await
    }

    /// Whether the daemon that was started still runs.
    pub(crate) fn is_alive(&self) -> bool {
        daemon_pid(&self.instance) == Ok(self.pid)
            && fs::metadata(format!("/proc/{}", self.pid)).is_ok()
    }

    /// Sets the daemon's peak of resident memory to what it has now (proc(5), `clear_refs`).
    pub(crate) fn reset_peak(&self) {
        // On failure the peak of an earlier trial is reported again, which is too large and never too small.
        drop(fs::write(format!("/proc/{}/clear_refs", self.pid), "5"));
    }

    /// The daemon's peak and present resident memory, in bytes.
    pub(crate) fn memory(&self) -> Option<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some((field("VmHWM:")?, field("VmRSS:")?))
    }

    /// Sends one request as the owner.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        send(&self.client, method, path, content_type, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, JSON, Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send(Method::POST, path, JSON, body.to_string().into_bytes())
            .await
    }

    pub(crate) async fn patch(
        &self,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Answer, String> {
        self.send(
            Method::PATCH,
            path,
            content_type,
            body.to_string().into_bytes(),
        )
        .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::DELETE, path, JSON, Vec::new()).await
    }
}

/// Sends one request and reads the whole answer, which is bounded.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Answer, String> {
    let what = format!("{method} {}", &path[..path.len().min(120)]);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(kube::client::Body::from(body))
        .map_err(|error| format!("{what}: {error}"))?;
    let answer = async {
        let answer = client.send(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if bytes.len() > MAX_ANSWER {
                break;
            }
        }
        Ok(Answer {
            status,
            body: bytes,
        })
    };
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error: String| format!("{what}: {error}")),
        Err(_elapsed) => Err(format!("{what}: no answer within {ANSWER:?}")),
    }
}

async fn config(instance: &Instance) -> Result<kube::Config, String> {
    let kubeconfig = Kubeconfig::read_from(instance.kubeconfig()).map_err(|e| e.to_string())?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| error.to_string())?;
    config.proxy_url = None;
    Ok(config)
}

/// The PID that `svc status` shows. Only for reading `/proc`: no trial signals it.
fn daemon_pid(instance: &Instance) -> Result<u32, String> {
    let text = fs::read_to_string(instance.dir().join("rdd.pid")).map_err(|e| e.to_string())?;
    text.trim().parse().map_err(|_| format!("no PID: {text:?}"))
}

/// A CustomResourceDefinition of group `assault.example` with this schema for its objects.
pub(crate) fn definition(plural: &str, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.assault.example")},
        "spec": {
            "group": "assault.example", "scope": "Cluster",
            "names": {"plural": plural, "kind": format!("K{plural}"), "singular": format!("k{plural}"),
                      "listKind": format!("K{plural}List")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// An object of [`definition`].
pub(crate) fn custom_object(plural: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "assault.example/v1", "kind": format!("K{plural}"),
        "metadata": {"name": name}, "spec": spec,
    })
}

/// The path of the objects of [`definition`].
pub(crate) fn custom_path(plural: &str) -> String {
    format!("/apis/assault.example/v1/{plural}")
}

/// Looks until `look` returns `Ok`; after `limit` returns the last state that it gave.
pub(crate) async fn until(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        match look().await {
            Err(state) if Instant::now() >= deadline => return Err(state),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
}

/// A shared plane, for trials that send many requests at once.
pub(crate) type Shared = Arc<Plane>;
