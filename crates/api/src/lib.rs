//! The resource types of rdd and their CRDs.
//!
//! *Architecture invariant*: types only. Nothing here talks to a server, a disk or a VM.
//!
//! | module | contents |
//! |---|---|
//! | [`lima`] | group `lima.rancherdesktop.io`: LimaVM, and every name that it uses |
//! | [`notary`], [`replica_set`] | group `rdd.rancherdesktop.io`: Notary, ConfigMapReplicaSet |
//! | [`rdd`] | names that all groups share, such as the clean-up finalizer |
//! | [`crds`](mod@crds) | the CustomResourceDefinitions, as objects and as the files of `crds/` |

pub mod crds;
pub mod lima;
pub mod notary;
pub mod rdd;
pub mod replica_set;

pub use crds::crds;
pub use lima::{LimaVM, LimaVMSpec, LimaVMStatus};

/// The version of every group of rdd.
pub const VERSION: &str = "v1alpha1";
