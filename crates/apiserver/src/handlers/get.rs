//! GET of an object.

use super::{call::Call, reply::Reply};
use crate::status::ApiError;

pub(super) fn get(call: &Call) -> Result<Reply, ApiError> {
    let entry = call.backend().get(&call.target)?;
    call.object_reply(200, &entry.value, &[])
}
