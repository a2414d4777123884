//! The daemon, seen from outside: its settings, whether it runs, how it is started, stopped and removed.

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
