//! The outermost layer: connections, TLS, who is asking, bodies.

mod body;
mod health;
pub(crate) mod listener;
mod request;

pub use body::ResponseBody;
pub(crate) use request::{Origin, respond};
