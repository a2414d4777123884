//! The outermost layer: connections, TLS, bodies of requests, health, and the services mounted beside the API.

mod anonymous;
pub(crate) mod frontend;
mod health;
pub(crate) mod listener;
pub mod mount;
mod read;
pub(crate) mod request;
pub(crate) mod tls;
