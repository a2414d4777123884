//! PATCH.

use super::{call::Call, reply::Reply};
use crate::{
    patch::Patch,
    registry::update::{self, Change},
    status::ApiError,
};

pub(super) async fn patch(call: &Call) -> Result<Reply, ApiError> {
    let strategic = call.kind().merge_keys.is_some();
    let patch = Patch::decode(call.request.media_type(), &call.request.body, strategic)?;
    let mut context = call.write_context()?;
    let change = Change::from(patch);
    let updated = update::update(&mut context, &call.target, &change, &[]).await?;
    call.object_reply(200, &updated.bytes, &context.warnings)
}
