//! Names that all API groups share.

/// The API group of rdd itself.
pub const GROUP: &str = "rdd.rancherdesktop.io";
/// The short name of the group in `--controllers`.
pub const SHORT_GROUP: &str = "rdd";
/// Finalizer: the controller cleans up before the object is removed.
pub const CLEANUP_FINALIZER: &str = "rdd.rancherdesktop.io/cleanup";
