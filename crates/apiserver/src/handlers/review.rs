//! POST of a review.

use super::{
    reply::{Reply, json_reply},
    request::Request,
};
use crate::{
    access::review::Review,
    codec::{self, protobuf},
    route::ResourcePath,
    status::ApiError,
};

/// Answers a review; `None`: the path names no review.
pub(super) fn answer(request: &Request, path: &ResourcePath) -> Result<Option<Reply>, ApiError> {
    let Some(review) = Review::find(&path.group, &path.version, &path.plural) else {
        return Ok(None);
    };
    let decoded = codec::request::decode(
        request.media_type(),
        &request.body,
        review.kind,
        Some(protobuf::REVIEW),
    )?;
    let mut body = decoded.value;
    if !body.is_object() {
        return Err(ApiError::bad_request(format!(
            "the body must be a {}",
            review.kind
        )));
    }
    review.complete(&request.user, &mut body);
    Ok(Some(json_reply(201, &body)))
}
