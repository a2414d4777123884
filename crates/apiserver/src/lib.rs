//! A Kubernetes API server over a store; knows no controller of rdd and no kind of rdd.
//!
//! A request walks down the folders in this order: `http` (listener, TLS, bodies) → `access` (user, rights, audit) →
//! `route` (path to kind and verb) → `handlers` (one file for each verb) → `registry` (one implementation for all
//! kinds), which passes a write through `admission` and writes it to the [`store::Store`]. Beside them: `kinds` (what
//! is served), `codec` and `view` (bodies and what they show), `conversion`, `schema`, `patch`, `selector`,
//! `discovery`, `limits` and `compute` (bounds of size, depth and time), and `controllers` (the server's own background work). `server` assembles all of it; nothing below
//! names the server.
//!
//! *Invariants*: objects live in the store as encoded JSON, and reads and watches send those bytes without decoding
//! them where the requested form is the stored one; only `registry` writes to the store.

mod access;
pub mod admission;
mod bootstrap;
mod codec;
mod compute;
mod config;
mod controllers;
mod conversion;
mod discovery;
mod field_path;
mod handlers;
pub mod http;
mod kinds;
mod limits;
mod names;
mod object;
mod patch;
pub mod pki;
mod print;
mod registry;
mod route;
mod schema;
mod selector;
mod server;
mod status;
mod view;

pub use access::user::User;
pub use codec::body::ResponseBody;
pub use config::{Clock, Config, ReadyCheck, VersionInfo};
pub use http::tls::Tls;
pub use server::{ApiService, Server, StartError};
