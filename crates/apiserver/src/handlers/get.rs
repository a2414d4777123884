//! GET of an object.

use super::{Call, output::Reply};
use crate::{registry, status::ApiError};

pub(super) fn get(call: &Call) -> Result<Reply, ApiError> {
    let entry = registry::get(call.server(), &call.target)?;
    call.object_reply(200, &entry.value, &[])
}
