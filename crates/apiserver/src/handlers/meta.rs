//! What is not a resource: discovery, OpenAPI, the list of paths.

use http::header;
use serde_json::json;

use super::{
    Request,
    output::{Reply, json_reply},
};
use crate::{discovery, http::ResponseBody, route::Route, status::ApiError};

pub(super) fn answer(request: &Request, route: &Route) -> Result<Reply, ApiError> {
    if request.method != http::Method::GET && request.method != http::Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let registry = &request.server.registry;
    let accept = request
        .headers
        .get(header::ACCEPT)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    let found = match route {
        Route::Paths => Some(json!({
            "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"],
        })),
        Route::Groups(core) => return Ok(groups(request, *core, accept)),
        Route::Group(group) => discovery::api_group(registry, group),
        Route::GroupVersion(group, version) => discovery::api_resources(registry, group, version),
        Route::OpenApiV2 if accept.contains(OPENAPI_V2_PROTOBUF) => return Ok(no_definitions()),
        Route::OpenApiV2 => Some(discovery::v2(registry)),
        Route::OpenApiV3 => Some(discovery::index(
            registry,
            request.server.openapi_revision(),
        )),
        Route::OpenApiV3Of(group, version) => discovery::v3(registry, group, version),
        _ => None,
    };
    found
        .map(|value| json_reply(200, &value))
        .ok_or_else(ApiError::no_such_resource)
}

/// What clients ask for that read OpenAPI 2.0 as protobuf only (`Document` of gnostic's `openapi_v2.proto`).
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A document without definitions, in protobuf. kubectl asks for one before it sends a `List` (also those that newer
/// and older versions make of several files): kinds that are not in it are left to the server to validate, which it
/// does; JSON instead would be an error.
fn no_definitions() -> Reply {
    let mut reply = json_reply(200, &json!(null));
    // With a point for the `@`, which no media type may hold (kube-openapi `handler.go`).
    let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let media = http::HeaderValue::from_static(media);
    reply.headers_mut().insert(header::CONTENT_TYPE, media);
    // Field 1 (`swagger`), a string of three bytes.
    *reply.body_mut() = ResponseBody::full("\x0a\x032.0".to_owned());
    reply
}

/// `/api` and `/apis`: aggregated for those who ask for it (KEP-3352), else the classic lists.
fn groups(request: &Request, core: bool, accept: &str) -> Reply {
    let registry = &request.server.registry;
    for range in accept.split(',') {
        let has = |parameter: &str| range.split(';').any(|p| p.trim() == parameter);
        for version in ["v2", "v2beta1"] {
            if has("g=apidiscovery.k8s.io")
                && has("as=APIGroupDiscoveryList")
                && has(&format!("v={version}"))
            {
                let mut reply = json_reply(200, &discovery::aggregated(registry, core, version));
                let media = format!(
                    "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                );
                if let Ok(media) = http::HeaderValue::from_str(&media) {
                    reply.headers_mut().insert(header::CONTENT_TYPE, media);
                }
                return reply;
            }
        }
    }
    let value = if core {
        discovery::api_versions()
    } else {
        discovery::api_groups(registry)
    };
    json_reply(200, &value)
}
