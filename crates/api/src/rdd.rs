//! Names that all groups share: the clean-up finalizer, and discovery of controller managers.

use serde::{Deserialize, Serialize};

/// The API group of rdd itself.
pub const GROUP: &str = "rdd.rancherdesktop.io";
/// Finalizer: the controller cleans up before the object goes.
pub const CLEANUP_FINALIZER: &str = "rdd.rancherdesktop.io/cleanup";
/// The namespace of what rdd keeps for itself.
pub const SYSTEM_NAMESPACE: &str = "rdd-system";
/// The discovery ConfigMap; recreated at each start of the daemon, so that its creation time is the start time.
pub const DISCOVERY_CONFIG_MAP: &str = "rdd-controller-manager";
/// The key of the daemon's own manager in the discovery ConfigMap.
pub const EMBEDDED_MANAGER: &str = "embedded";
/// Annotation of the discovery ConfigMap; `true` once every enabled controller works.
pub const READY_ANNOTATION: &str = "rdd.rancherdesktop.io/ready";

/// The value of one key of the discovery ConfigMap: one controller manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagerEntry {
    /// The controllers that it runs.
    pub enabled_controllers: Vec<String>,
    /// The endpoints that it offers under `/passthrough`, by controller.
    pub enabled_passthroughs: Vec<String>,
    /// The port of 127.0.0.1 with its health; 0 for none.
    pub health_port: u16,
    /// The port of 127.0.0.1 with its figures; 0 for none.
    pub metrics_port: u16,
    /// When it started, in RFC 3339.
    pub start_time: String,
}
