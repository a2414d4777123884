//! Content negotiation: the format and the view that a client accepts.

use crate::{codec::response::Format, status::ApiError, view::View};

/// The number of media types in `Accept` that are examined.
const MAX_ACCEPTED: usize = 16;

/// The format and the view of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) format: Format,
    pub(super) view: View,
}

impl Accept {
    /// Returns the first media type in `Accept` that the server offers.
    pub(super) fn negotiate(accept: &str) -> Result<Self, ApiError> {
        for range in accept.split(',').take(MAX_ACCEPTED) {
            let mut parts = range.split(';').map(str::trim);
            let format = parts.next().and_then(Format::of);
            let parameter = |name: &str| {
                let mut all = range.split(';').map(str::trim);
                all.find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
            };
            let view = View::of(parameter("as"), parameter("g"), parameter("v"));
            if let (Some(format), Some(view)) = (format, view) {
                return Ok(Self { format, view });
            }
        }
        Err(ApiError::not_acceptable(Format::OFFERED))
    }
}
