//! The LimaVM controller: one actor for each VM.
//!
//! ```text
//!  API server ──watch──▶ dispatch ──"look again"──▶ actor ──look──▶ files, lock, sockets (hostagent::client::observe)
//!                                                     │ ──plan──▶ one bounded step, or a job in the background
//!                                                     └ ──status──▶ API server, if it differs
//! ```
//! A wake-up carries no data, so two of them are as good as one and none can be lost (hazard 33); what is slow is a
//! job beside the actor, so it goes on looking (hazard 26), and no VM waits for another one (hazard 32).

mod actor;
mod books;
mod dispatch;
mod ending;
mod files;
mod job;
mod limits;
mod look;
mod memory;
mod names;
mod phases;
pub mod plan;
mod progress;
mod status;
mod step;
mod stopping;
mod template_copy;

pub(crate) use dispatch::dispatch;
