//! What the client accepts, and answers in that form.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::Call;
use crate::{
    http::ResponseBody,
    object,
    print::{self, IncludeObject},
    status::ApiError,
};

pub(crate) type Reply = Response<ResponseBody>;

const ACCEPTED: &str = "application/json";
/// More media types than this in `Accept` are not looked at.
const MAX_ACCEPTED: usize = 16;
/// More warnings than this are not sent, and none longer.
const MAX_WARNINGS: usize = 20;
const MAX_WARNING: usize = 500;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Json,
    Table,
    Partial,
}

impl Output {
    /// The first form in `Accept` that we have.
    pub(super) fn negotiate(headers: &HeaderMap) -> Result<Self, ApiError> {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|h| h.to_str().ok())
            .unwrap_or("*/*");
        for range in accept.split(',').take(MAX_ACCEPTED) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            if !["application/json", "application/*", "*/*", ""].contains(&media_type) {
                continue;
            }
            let parameter = |name: &str| {
                let mut all = range.split(';').map(str::trim);
                all.find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
            };
            let (r#as, group, version) = (parameter("as"), parameter("g"), parameter("v"));
            let meta = group == Some("meta.k8s.io") && version == Some("v1");
            match r#as {
                None => return Ok(Self::Json),
                Some("Table") if meta => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => {
                    return Ok(Self::Partial);
                }
                Some(_) => {}
            }
        }
        Err(ApiError::not_acceptable(ACCEPTED))
    }
}

fn reply(code: u16, body: ResponseBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    reply
}

/// A JSON document.
pub(crate) fn json_reply(code: u16, value: &Value) -> Reply {
    reply(code, ResponseBody::full(value.to_string()))
}

/// A refusal.
pub(crate) fn status_reply(error: &ApiError) -> Reply {
    let mut reply = json_reply(error.code, &error.status());
    if error.code == 429 || error.code == 503 || error.code == 504 {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// A stream of JSON documents.
pub(super) fn stream_reply(stream: futures::stream::BoxStream<'static, Bytes>) -> Reply {
    reply(200, ResponseBody::stream(stream))
}

fn warn(reply: &mut Reply, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        // RFC 9110's quoted string; what cannot stand in a header is left out.
        let text: String = warning
            .chars()
            .filter(|c| !c.is_control() && c.is_ascii())
            .take(MAX_WARNING)
            .flat_map(|c| {
                if c == '"' || c == '\\' {
                    vec!['\\', c]
                } else {
                    vec![c]
                }
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            reply.headers_mut().append(header::WARNING, value);
        }
    }
}

impl Call {
    /// The object in this request's version of its group.
    pub(super) fn present(&self, bytes: &Bytes) -> Bytes {
        self.resource().present(bytes)
    }

    pub(super) fn include_object(&self) -> Result<IncludeObject, ApiError> {
        match self.query.get("includeObject") {
            None | Some("Metadata") => Ok(IncludeObject::Metadata),
            Some("None") => Ok(IncludeObject::None),
            Some("Object") => Ok(IncludeObject::Object),
            Some(other) => Err(ApiError::bad_request(format!(
                "includeObject: unknown value {other:?}"
            ))),
        }
    }

    /// An object in the form that the client asked for.
    pub(super) fn object_reply(
        &self,
        code: u16,
        bytes: &Bytes,
        warnings: &[String],
    ) -> Result<Reply, ApiError> {
        let bytes = self.present(bytes);
        let decode = || -> Result<Value, ApiError> {
            object::decode_or_head(&bytes).map_err(|e| ApiError::internal(e.to_string()))
        };
        let mut reply = match self.output {
            Output::Json => reply(code, ResponseBody::full(bytes)),
            Output::Partial => json_reply(code, &print::partial(&decode()?)),
            Output::Table => {
                let object = decode()?;
                let rows = [self.row(&object)?];
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                json_reply(code, &self.table(&metadata, &rows))
            }
        };
        warn(&mut reply, warnings);
        Ok(reply)
    }

    /// `metav1.Status` of a success.
    pub(super) fn success_reply(&self, object: &Value, warnings: &[String]) -> Reply {
        let mut details = json!({
            "name": object["metadata"]["name"], "kind": self.resource().plural, "uid": object["metadata"]["uid"],
        });
        if !self.resource().group.is_empty() {
            details["group"] = self.resource().group.as_str().into();
        }
        let mut reply = json_reply(
            200,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        );
        warn(&mut reply, warnings);
        reply
    }

    pub(super) fn row(&self, object: &Value) -> Result<Value, ApiError> {
        let now = (self.server().clock)();
        Ok(print::row(
            self.resource(),
            object,
            self.include_object()?,
            now,
        ))
    }

    pub(super) fn table(&self, metadata: &Value, rows: &[Value]) -> Value {
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": print::definitions(self.resource()), "rows": rows,
        })
    }

    /// A list. `metadata` holds `resourceVersion` and what continues it.
    pub(super) fn list_reply(&self, metadata: &Value, items: &[Bytes]) -> Result<Reply, ApiError> {
        let decode = |bytes: &Bytes| -> Result<Value, ApiError> {
            object::decode_or_head(bytes).map_err(|e| ApiError::internal(e.to_string()))
        };
        match self.output {
            Output::Json => {
                let kind = json!(self.resource().list_kind);
                let api_version = json!(self.resource().api_version());
                let head = format!(
                    "{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":["
                );
                let items = items.iter().map(|bytes| self.present(bytes)).collect();
                Ok(reply(200, ResponseBody::list(head, items)))
            }
            Output::Partial => {
                let items = items.iter().map(|b| Ok(print::partial(&decode(b)?)));
                let items = items.collect::<Result<Vec<_>, ApiError>>()?;
                let kind = "PartialObjectMetadataList";
                let list = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items});
                Ok(json_reply(200, &list))
            }
            Output::Table => {
                let rows = items.iter().map(|b| self.row(&decode(&self.present(b))?));
                let rows = rows.collect::<Result<Vec<_>, ApiError>>()?;
                Ok(json_reply(200, &self.table(metadata, &rows)))
            }
        }
    }
}
