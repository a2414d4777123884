//! Paths that are not resources: discovery, OpenAPI, the list of paths.

use http::{HeaderValue, header};
use serde_json::json;

use super::{
    reply::{Reply, json_reply},
    request::Request,
};
use crate::{codec::body::ResponseBody, discovery, route::Route, status::ApiError};

pub(super) fn answer(request: &Request, route: &Route) -> Result<Reply, ApiError> {
    if *route == Route::Unknown {
        return Err(ApiError::no_such_resource());
    }
    if !request.is_read() {
        return Err(ApiError::method_not_allowed());
    }
    let kinds = &request.backend.kinds;
    let accept = request.accept();
    let found = match route {
        Route::Paths => Some(json!({
            "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"],
        })),
        Route::Groups(core) => return Ok(groups(request, *core, accept)),
        Route::Group(group) => discovery::api_group(kinds, group),
        Route::GroupVersion(group, version) => discovery::api_resources(kinds, group, version),
        Route::OpenApiV2 if accept.contains(OPENAPI_V2_PROTOBUF) => return Ok(no_definitions()),
        Route::OpenApiV2 => Some(discovery::v2(kinds)),
        Route::OpenApiV3 => Some(discovery::index(kinds, kinds.changed())),
        Route::OpenApiV3Of(group, version) => discovery::v3(kinds, group, version),
        _ => None,
    };
    found
        .map(|value| json_reply(200, &value))
        .ok_or_else(ApiError::no_such_resource)
}

/// The media type for OpenAPI 2.0 in protobuf (`Document` of gnostic's `openapi_v2.proto`).
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Returns a document without definitions, in protobuf. kubectl requests the document before it sends a `List`, which
/// some versions also make of several files. It leaves kinds that are missing in the document to the server to
/// validate, and fails if the document is JSON.
fn no_definitions() -> Reply {
    let mut reply = json_reply(200, &json!(null));
    // With a dot instead of the `@`, which a media type cannot contain (kube-openapi `handler.go`).
    let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let media = HeaderValue::from_static(media);
    reply.headers_mut().insert(header::CONTENT_TYPE, media);
    // Field 1 (`swagger`), a string of three bytes.
    *reply.body_mut() = ResponseBody::full("\x0a\x032.0".to_owned());
    reply
}

/// Answers `/api` and `/apis`: aggregated if the client accepts that (KEP-3352), else as the classic lists.
fn groups(request: &Request, core: bool, accept: &str) -> Reply {
    let kinds = &request.backend.kinds;
    for range in accept.split(',') {
        let has = |parameter: &str| range.split(';').any(|p| p.trim() == parameter);
        for version in ["v2", "v2beta1"] {
            if has("g=apidiscovery.k8s.io")
                && has("as=APIGroupDiscoveryList")
                && has(&format!("v={version}"))
            {
                let mut reply = json_reply(200, &discovery::aggregated(kinds, core, version));
                let media = format!(
                    "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                );
                if let Ok(media) = HeaderValue::from_str(&media) {
                    reply.headers_mut().insert(header::CONTENT_TYPE, media);
                }
                return reply;
            }
        }
    }
    let value = if core {
        discovery::api_versions()
    } else {
        discovery::api_groups(kinds)
    };
    json_reply(200, &value)
}
