//! Admission: code that may change or refuse a write. [`plugin`] is the interface for the program that assembles
//! the server, [`chain`] runs the plugins, [`namespace_lifecycle`] is the plugin of the server itself.
//!
//! *Invariant*: admission knows no request and no registry; it sees [`plugin::AdmissionRequest`] only.

pub(crate) mod chain;
pub(crate) mod namespace_lifecycle;
pub(crate) mod plugin;

pub use plugin::{AdmissionPlugin, AdmissionRequest, Denied, Operation};
