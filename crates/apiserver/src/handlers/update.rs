//! PUT.

use super::{Call, output::Reply};
use crate::{
    object,
    registry::update::{self, Change},
    status::{ApiError, Cause},
};

pub(super) async fn update(call: &Call) -> Result<Reply, ApiError> {
    let (body, problems) = call.decode_body()?;
    // A custom resource without a version would overwrite what the client has not seen.
    let blind = object::meta_str(&body, "resourceVersion").is_empty();
    if blind && !call.resource().built_in && registry_has(call) {
        let cause = Cause::invalid(
            "metadata.resourceVersion",
            &0.into(),
            "must be specified for an update",
        );
        return Err(call.target.about().invalid(&call.target.name, &[cause]));
    }
    let mut context = call
        .query
        .write_context(call.server(), &call.request.user)?;
    let written = update::update(
        &mut context,
        &call.target,
        &Change::Replace(body),
        &problems,
    )
    .await?;
    call.object_reply(200, &written.bytes, &context.warnings)
}

fn registry_has(call: &Call) -> bool {
    call.server().store.get(&call.target.key()).is_some()
}
