//! POST.

use super::{call::Call, reply::Reply};
use crate::{registry::create, status::ApiError};

pub(super) async fn create(call: &Call) -> Result<Reply, ApiError> {
    let (body, problems) = call.decode_body()?;
    let mut context = call.write_context()?;
    let bytes = create::create(&mut context, call.target.clone(), body, problems).await?;
    call.object_reply(201, &bytes, &context.warnings)
}
