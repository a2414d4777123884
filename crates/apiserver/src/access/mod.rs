//! Access: the user of a request, and what the user may do. A request passes [`authenticate`] (once for a
//! connection), [`impersonate`], [`authorize`], and is recorded by [`audit`].
//!
//! *Invariant*: no other folder decides whether a request is allowed.

pub(crate) mod audit;
pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod impersonate;
pub(crate) mod review;
pub(crate) mod user;
