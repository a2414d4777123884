//! PATCH.

use super::{Call, output::Reply};
use crate::{
    patch::Patch,
    registry::update::{self, Change},
    status::ApiError,
};

pub(super) async fn patch(call: &Call) -> Result<Reply, ApiError> {
    let patch = Patch::decode(
        call.request.media_type(),
        &call.request.body,
        call.resource().built_in,
    )?;
    let mut context = call
        .query
        .write_context(call.server(), &call.request.user)?;
    let written = update::update(&mut context, &call.target, &Change::from(patch), &[]).await?;
    call.object_reply(200, &written.bytes, &context.warnings)
}
