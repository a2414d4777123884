//! Group `rdd.rancherdesktop.io`: a value whose history is recorded.

// KubeSchema copies each struct into a scope of its own, where `pub` leads nowhere.
#![allow(unreachable_pub)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The name of the controller in `--controllers` and in discovery.
pub const CONTROLLER: &str = "notary";

/// What is recorded, and where.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "rdd.rancherdesktop.io",
    version = "v1alpha1",
    kind = "Notary",
    plural = "notaries",
    singular = "notary",
    namespaced,
    status = "NotaryStatus",
    derive = "PartialEq",
    doc = "A value whose history is recorded in a ConfigMap."
)]
#[serde(rename_all = "camelCase")]
pub struct NotarySpec {
    /// The value. Each change of it is recorded.
    pub value: String,
    /// The ConfigMap that contains the history.
    pub config_map_name: String,
}

/// What was recorded.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NotaryStatus {
    /// The value that was recorded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_recorded_value: Option<String>,
    /// The result of the last write of the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_status: Option<String>,
    /// The number of changes recorded so far.
    #[serde(default)]
    pub change_count: i64,
}
