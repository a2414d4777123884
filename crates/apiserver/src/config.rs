//! [`Config`]: the parts that a server is assembled from.

use std::sync::Arc;

use crate::admission::plugin::AdmissionPlugin;

/// Returns the time. A value, so that tests can set it.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// The parts that a server is assembled from.
#[derive(Clone)]
pub struct Config {
    /// The store of the objects.
    pub store: Arc<dyn store::Store>,
    /// CustomResourceDefinition objects (`apiextensions.k8s.io/v1`) that are created or updated at start.
    pub crds: Vec<serde_json::Value>,
    /// Namespaces that are created at start, in addition to `default` and `kube-system`. None of them can be deleted.
    pub namespaces: Vec<String>,
    /// Admission plugins; `Server::add_admission` adds more.
    pub admission: Vec<Arc<dyn AdmissionPlugin>>,
    /// Checks that must all pass for `/readyz` to answer 200; `Server::add_ready_check` adds more.
    pub ready_checks: Vec<ReadyCheck>,
    /// The answer to `/version`.
    pub version: VersionInfo,
    /// The clock for timestamps in objects.
    pub clock: Clock,
}

impl Config {
    /// A server over `store` without definitions, plugins and checks.
    pub fn new(store: Arc<dyn store::Store>) -> Self {
        Self {
            store,
            crds: Vec::new(),
            namespaces: Vec::new(),
            admission: Vec::new(),
            ready_checks: Vec::new(),
            version: VersionInfo::default(),
            clock: Arc::new(jiff::Timestamp::now),
        }
    }
}

/// A named readiness check.
#[derive(Clone)]
pub struct ReadyCheck {
    /// The name shown by `/readyz?verbose`.
    pub name: String,
    /// `Err` holds why the check fails.
    pub check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The answer to `/version` (`k8s.io/apimachinery/pkg/version.Info`).
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Major version of the Kubernetes API.
    pub major: String,
    /// Minor version of the Kubernetes API.
    pub minor: String,
    /// Full version, such as `v1.33.0+rdd-0.1.0`.
    pub git_version: String,
    /// Commit from which the program was built.
    pub git_commit: String,
    /// `clean` or `dirty`.
    pub git_tree_state: String,
    /// When the program was built.
    pub build_date: String,
    /// Version of the Go compiler: `none`.
    pub go_version: String,
    /// Compiler of the program.
    pub compiler: String,
    /// Platform, such as `linux/amd64`.
    pub platform: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            major: "1".into(),
            minor: "33".into(),
            git_version: concat!("v1.33.0+rdd-", env!("CARGO_PKG_VERSION")).into(),
            git_commit: String::new(),
            git_tree_state: "clean".into(),
            build_date: "1970-01-01T00:00:00Z".into(),
            go_version: "none".into(),
            compiler: "rustc".into(),
            platform: format!("{}/{arch}", std::env::consts::OS),
        }
    }
}
