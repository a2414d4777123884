//! PUT.

use super::{call::Call, reply::Reply};
use crate::{
    registry::update::{self, Change},
    status::ApiError,
};

pub(super) async fn update(call: &Call) -> Result<Reply, ApiError> {
    let (body, problems) = call.decode_body()?;
    let mut context = call.write_context()?;
    let change = Change::Replace(body);
    let updated = update::update(&mut context, &call.target, &change, &problems).await?;
    let code = if updated.created { 201 } else { 200 };
    call.object_reply(code, &updated.bytes, &context.warnings)
}
