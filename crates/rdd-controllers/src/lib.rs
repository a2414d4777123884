//! Controllers of the API group `rdd.rancherdesktop.io`. They need nothing but an API server, and exercise it: webhooks,
//! events, ownership, histories.
//!
//! *Architecture invariant*: no file, no process, no VM.
//!
//! | module | what it does |
//! |---|---|
//! | [`notary`] | records each value of a Notary in a ConfigMap |
//! | [`replica_set`] | keeps a number of ConfigMaps with the same data |

pub mod notary;
mod owned;
pub mod replica_set;

pub use notary::NotaryController;
pub use replica_set::ReplicaSetController;
