//! The daemon as commands see it: its settings and state, and how to start, stop and remove it.

pub(crate) mod check_request;
pub(crate) mod client;
mod orphans;
pub(crate) mod other_daemon;
pub(crate) mod ownership;
pub(crate) mod remove;
pub(crate) mod restart;
pub(crate) mod settings;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod stop;
pub(crate) mod stop_request;
