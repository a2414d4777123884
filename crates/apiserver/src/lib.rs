//! A Kubernetes API server over a store; knows no controller and no kind of rdd.
//!
//! A request walks down the folders in this order: [`http`] (listener, TLS, client certificate) → `route`
//! (path to resource and verb) → `handlers` (one file a verb) → `registry` (one generic implementation, a
//! strategy a kind) → [`store::Store`]. Custom resources and built-in kinds go the same way.
//!
//! *Invariants*: objects live in the store as encoded JSON, and reads and watches hand out those bytes without
//! decoding them; nothing outside `registry` writes to the store.

pub mod admission;
mod bootstrap;
mod cleanup;
mod compute;
mod config;
mod discovery;
pub mod endpoint;
mod field_path;
mod handlers;
pub mod http;
mod kinds;
mod limits;
mod object;
mod patch;
pub mod pki;
mod print;
mod protobuf;
mod registry;
mod route;
mod schema;
mod selector;
mod server;
mod status;
mod user;

pub use config::{Clock, Config, ReadyCheck, VersionInfo};
pub use server::{ApiService, Server, StartError};
pub use user::User;
