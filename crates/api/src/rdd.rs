//! Names that all API groups share.

/// The API group of rdd itself.
pub const GROUP: &str = "rdd.rancherdesktop.io";
/// Finalizer: the controller cleans up before the object is removed.
pub const CLEANUP_FINALIZER: &str = "rdd.rancherdesktop.io/cleanup";
