//! The generic registry: every kind is created, updated and deleted by the same code over a [`backend::Backend`];
//! the [`crate::kinds::strategy::Strategy`] of a kind holds what is special about it.
//!
//! *Invariant*: nothing outside this folder writes to the store.

pub(crate) mod backend;
pub(crate) mod context;
pub(crate) mod create;
pub(crate) mod delete;
mod generation;
mod metadata;
mod pipeline;
pub(crate) mod target;
pub(crate) mod update;

/// How often a write that loses a race is tried (Kubernetes: 5 times for patches, without limit for others).
const MAX_ATTEMPTS: usize = 16;
