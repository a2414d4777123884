//! The kinds that the server serves: one file for each built-in kind, and `custom.rs` for those that
//! CustomResourceDefinitions declare. `docs/adding-a-kind.md` walks through a new one.
//!
//! *Invariant*: a [`kind::Kind`] is data and pure functions. It knows neither the store nor a request.

pub(crate) mod catalog;
pub(crate) mod column;
mod config_maps;
pub(crate) mod custom;
mod definition_names;
pub(crate) mod definitions;
mod events;
pub(crate) mod kind;
mod leases;
pub(crate) mod namespaces;
pub(crate) mod nulls;
mod secrets;
mod service_accounts;
pub(crate) mod strategy;
pub(crate) mod typed;

/// Returns the kinds that every server serves. A new built-in kind gets a file of its own and a line here.
pub(crate) fn built_in() -> Vec<kind::Kind> {
    vec![
        config_maps::kind(),
        secrets::kind(),
        namespaces::kind(),
        service_accounts::kind(),
        leases::kind(),
        events::core(),
        events::events_k8s_io(),
        definitions::kind(),
    ]
}
