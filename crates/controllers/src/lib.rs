//! Reconcilers that make the world match what was declared.
//!
//! *Architecture invariants*: kube-rs only. A [`kube::Client`] is all that is known of the control plane, so the same
//! code runs in the daemon (a tower service straight into its API server), in a process of its own, and against a
//! real Kubernetes API server. Nothing waits inside a reconciler: each VM has a task of its own.
//!
//! | module | what it knows |
//! |---|---|
//! | [`manager`] | starts and ends the controllers; CRDs, discovery |
//! | [`admission`] | what may be written: LimaVMs and their template ConfigMaps |
//! | `limavm` | one actor for each VM: look, decide, do one step, report |

pub mod admission;
mod api_call;
pub mod config;
mod discovery;
mod events;
mod host;
mod install;
pub mod limavm;
pub mod manager;

pub use config::{Config, HostagentCommand, Shutdown};
pub use manager::{Manager, ManagerError, Sooner};
