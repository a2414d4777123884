//! Runs Kubernetes controllers, in the daemon or in a program of their own.
//!
//! A controller implements [`Controller`]; a [`Manager`] installs its CustomResourceDefinitions, announces it in the
//! discovery ConfigMap, runs it, restarts it with back-off when it fails, and stops it. Most controllers only need
//! [`reconcile::run`], which calls a [`Reconciler`](reconcile::Reconciler) for each object that may have changed.
//!
//! *Architecture invariants*: kube-rs only. A [`kube::Client`] is all that the kit knows of the control plane, so the
//! same controller runs in the daemon (the client is a tower service straight into its API server), in a program of its
//! own over HTTPS, and against any other Kubernetes API server. The kit knows no kind of rdd.
//!
//! | module | what it does |
//! |---|---|
//! | [`controller`] | the trait that a controller implements, and what it is given to work with |
//! | [`manager`] | starts, supervises and stops controllers |
//! | [`reconcile`] | a work queue of objects, for controllers that handle each object in one short step |
//! | [`tasks`] | a task for each object, restarted with back-off if it panics |
//! | [`watch`] | a local copy of all objects of a kind, and a notification for each change |
//! | [`decoded`] | reads objects of which some fields do not fit their type |
//! | [`webhook`] | admission webhooks, served in process or over HTTPS |
//! | [`recorder`] | Kubernetes events |
//! | [`call`] | API calls with a deadline and an error that names the action |
//! | [`back_off`], [`throttle`] | pauses between retries; limits of rates |
//! | [`discovery`] | the ConfigMap that says which controllers run where |
//! | [`health`] | which controllers work |

pub mod back_off;
pub mod call;
pub mod controller;
pub mod decoded;
pub mod discovery;
pub mod health;
mod install;
pub mod manager;
pub mod reconcile;
pub mod recorder;
pub mod tasks;
pub mod throttle;
pub mod watch;
pub mod webhook;

pub use controller::{Context, Controller, RunState};
pub use manager::{Config, GraceLimit, Manager, ManagerError, Shutdown};
