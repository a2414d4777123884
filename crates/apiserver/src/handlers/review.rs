//! Questions that are answered without being stored: who am I, may I. Whoever is let in may do everything.

use serde_json::{Value, json};

use super::{
    Request,
    output::{Reply, json_reply},
};
use crate::{discovery::REVIEWS, protobuf, route::ResourcePath, status::ApiError};

/// The answer, when the path is one of these questions.
pub(super) fn answer(request: &Request, path: &ResourcePath) -> Result<Option<Reply>, ApiError> {
    let known = REVIEWS
        .iter()
        .find(|(group, plural, _)| *group == path.group && *plural == path.plural);
    let Some((group, _, kind)) = known.filter(|_| path.version == "v1") else {
        return Ok(None);
    };
    let bad =
        |why: &str| ApiError::bad_request(format!("the body cannot be decoded as a {kind}: {why}"));
    let mut review: Value = match request.media_type() {
        "application/json" => {
            serde_json::from_slice(&request.body).map_err(|e| bad(&e.to_string()))?
        }
        protobuf::MEDIA_TYPE => {
            protobuf::decode(&request.body).ok_or_else(|| bad("malformed protobuf"))?
        }
        _ => return Err(ApiError::unsupported_media_type("application/json")),
    };
    if !review.is_object() {
        return Err(ApiError::bad_request(format!("the body must be a {kind}")));
    }
    review["apiVersion"] = format!("{group}/v1").into();
    review["kind"] = (*kind).into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    let everything = json!(["*"]);
    review["status"] = match *kind {
        "SelfSubjectReview" => {
            json!({"userInfo": {"username": request.user.name, "groups": request.user.groups}})
        }
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": everything, "apiGroups": everything, "resources": everything}],
            "nonResourceRules": [{"verbs": everything, "nonResourceURLs": everything}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    Ok(Some(json_reply(201, &review)))
}
