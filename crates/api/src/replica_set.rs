//! Group `rdd.rancherdesktop.io`: a number of ConfigMaps with the same data.

// KubeSchema copies each struct into a scope of its own, where `pub` leads nowhere.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The name of the controller in `--controllers` and in discovery.
pub const CONTROLLER: &str = "configmapreplicaset";

/// Which ConfigMaps there should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "rdd.rancherdesktop.io",
    version = "v1alpha1",
    kind = "ConfigMapReplicaSet",
    plural = "configmapreplicasets",
    singular = "configmapreplicaset",
    shortname = "cmrs",
    namespaced,
    status = "ConfigMapReplicaSetStatus",
    derive = "PartialEq",
    doc = "A number of ConfigMaps with the same data."
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReplicaSetSpec {
    /// The number of ConfigMaps, 1 unless given. They are named NAME-0, NAME-1 and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// The data of each ConfigMap; the key `index` is added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// Which ConfigMaps there are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReplicaSetStatus {
    /// The number of ConfigMaps that exist with the right data.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The state of the set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
