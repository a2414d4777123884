//! What a server is made of.

use std::sync::Arc;

use crate::admission::AdmissionPlugin;

/// Tells the time; a value so that tests can set it.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// What a [`crate::Server`] is made of.
#[derive(Clone)]
pub struct Config {
    /// Where the objects live.
    pub store: Arc<dyn store::Store>,
    /// CustomResourceDefinition objects (`apiextensions.k8s.io/v1`) that are created or brought up to date at start.
    pub crds: Vec<serde_json::Value>,
    /// Namespaces that are created at start, beside `default` and `kube-system`. Neither they nor those can be
    /// deleted.
    pub namespaces: Vec<String>,
    /// In-process admission; more can be added with [`crate::Server::add_admission`].
    pub admission: Vec<Arc<dyn AdmissionPlugin>>,
    /// `/readyz` answers 200 once all of these hold; more can be added with [`crate::Server::add_ready_check`].
    pub ready_checks: Vec<ReadyCheck>,
    /// What `/version` says.
    pub version: VersionInfo,
    /// Tells the time.
    pub clock: Clock,
}

impl Config {
    /// A server over `store` with nothing else in it.
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

/// A named condition of readiness.
#[derive(Clone)]
pub struct ReadyCheck {
    /// The name shown by `/readyz?verbose`.
    pub name: String,
    /// `Err` says why it does not hold.
    pub check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What `/version` says (`k8s.io/apimachinery/pkg/version.Info`).
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Major version of the Kubernetes API that is served.
    pub major: String,
    /// Minor version of the Kubernetes API that is served.
    pub minor: String,
    /// Full version, `v1.33.0+rdd-0.1.0`.
    pub git_version: String,
    /// Commit of the program.
    pub git_commit: String,
    /// `clean` or `dirty`.
    pub git_tree_state: String,
    /// When the program was built.
    pub build_date: String,
    /// Here the Rust version.
    pub go_version: String,
    /// The compiler.
    pub compiler: String,
    /// `linux/amd64`.
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
