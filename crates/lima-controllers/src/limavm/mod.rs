//! The LimaVM controller: one actor for each VM.
//!
//! ```text
//!  API server ──watch──▶ dispatch ──"look again"──▶ actor ──look──▶ files, lock, sockets (hostagent::client::observe)
//!                                                     │ ──plan──▶ one bounded step, or a job in the background
//!                                                     └ ──status──▶ API server, if it differs
//! ```
//! A wake-up carries no data, so two of them can be merged and none can be lost (hazard 33). Slow work is a background job,
//! so the actor goes on observing (hazard 26), and no VM waits for another (hazard 32).

mod actor;
pub mod adopt;
mod dispatch;
mod ending;
pub(crate) mod files;
mod history;
mod hostagent_process;
mod job;
mod limits;
mod look;
mod names;
mod object;
mod observe;
mod own_template;
pub mod owner_record;
mod phases;
pub mod plan;
mod progress;
mod run;
mod status;
mod stopping;
mod template_copy;
mod work;

pub(crate) use dispatch::dispatch;
