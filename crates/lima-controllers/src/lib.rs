//! Controllers of the API group `lima.rancherdesktop.io`: keep virtual machines in their declared state.
//!
//! *Architecture invariants*: the control plane is reached through a [`kube::Client`] only, so the controller runs in the
//! daemon, in a program of its own, and against any Kubernetes API server. No reconcile step waits for a guest, a
//! download or another VM: each VM has its own task.
//!
//! | module | what it does |
//! |---|---|
//! | [`controller`] | the [`controller_kit::Controller`] of LimaVMs |
//! | [`admission`] | the webhooks: which LimaVMs and template ConfigMaps may be written |
//! | [`limavm`] | one actor for each VM: observe, plan, perform one step, report |

pub mod admission;
pub mod config;
pub mod controller;
mod host;
pub mod limavm;
mod template;

pub use limavm::{adopt, owner_record};

pub use config::{Config, HostagentCommand};
pub use controller::LimaVmController;
