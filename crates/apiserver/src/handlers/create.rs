//! POST.

use super::{Call, output::Reply};
use crate::{registry, status::ApiError};

pub(super) async fn create(call: &Call) -> Result<Reply, ApiError> {
    let (body, problems) = call.decode_body()?;
    let mut context = call
        .query
        .write_context(call.server(), &call.request.user)?;
    let written =
        registry::create::create(&mut context, call.target.clone(), body, problems).await?;
    call.object_reply(201, &written.bytes, &context.warnings)
}
