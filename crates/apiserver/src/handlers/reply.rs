//! Builds responses.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::call::Call;
use crate::{
    codec::{body::ResponseBody, response::Format},
    compute, conversion,
    print::IncludeObject,
    status::ApiError,
    view::{Shown, View, Viewer},
};

/// From this size on, a list that has to be decoded is encoded on the compute pool. Below it this takes a few
/// milliseconds.
const LARGE_LIST: usize = 1 << 20;

pub(crate) type Reply = Response<ResponseBody>;

/// The number of warnings that a response carries.
const MAX_WARNINGS: usize = 20;
/// The length of a warning, in characters.
const MAX_WARNING: usize = 500;

fn reply(code: u16, format: Format, body: ResponseBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    reply
}

/// Answers with a JSON document.
pub(crate) fn json_reply(code: u16, value: &Value) -> Reply {
    reply(code, Format::Json, ResponseBody::full(value.to_string()))
}

/// Answers with the `Status` of an error.
pub(crate) fn status_reply(error: &ApiError) -> Reply {
    let mut reply = json_reply(error.code, &error.status());
    if error.code == 429 || error.code == 503 || error.code == 504 {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// Answers with a stream of JSON documents.
pub(super) fn stream_reply(stream: BoxStream<'static, Bytes>) -> Reply {
    reply(200, Format::Json, ResponseBody::stream(stream))
}

fn warn(reply: &mut Reply, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        // A quoted string of RFC 9110, without the characters that a header cannot contain.
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

    fn viewer(&self) -> Result<Viewer<'_>, ApiError> {
        Ok(Viewer {
            kind: self.kind(),
            view: self.accept.view,
            include: self.include_object()?,
            now: (self.backend().clock)(),
        })
    }

    /// Answers with an object, in the view and format that the client accepts.
    pub(super) fn object_reply(
        &self,
        code: u16,
        stored: &Bytes,
        warnings: &[String],
    ) -> Result<Reply, ApiError> {
        let format = self.accept.format;
        let body = match self.viewer()?.object(stored, true)? {
            Shown::Json(bytes) => format.encode_json(&bytes)?,
            Shown::Value(value) => format.encode(&value)?,
        };
        let mut reply = reply(code, format, ResponseBody::full(body));
        warn(&mut reply, warnings);
        Ok(reply)
    }

    /// Encodes a list on the compute pool, because every object in it has to be decoded.
    async fn large_list(&self, metadata: &Value, items: &[Bytes]) -> Result<Bytes, ApiError> {
        let Viewer {
            view, include, now, ..
        } = self.viewer()?;
        let (kind, format) = (Arc::clone(&self.target.kind), self.accept.format);
        let (metadata, items) = (metadata.clone(), items.to_vec());
        compute::run(move |_| {
            let viewer = Viewer {
                kind: &kind,
                view,
                include,
                now,
            };
            format.encode(&viewer.list(&metadata, &items)?)
        })
        .await?
    }

    /// Answers with the `metav1.Status` of a success.
    pub(super) fn success_reply(&self, object: &Value, warnings: &[String]) -> Reply {
        let mut details = json!({
            "name": object["metadata"]["name"], "kind": self.kind().plural, "uid": object["metadata"]["uid"],
        });
        if !self.kind().group.is_empty() {
            details["group"] = self.kind().group.as_str().into();
        }
        let mut reply = json_reply(
            200,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        );
        warn(&mut reply, warnings);
        reply
    }

    /// Answers with a list. `metadata` holds `resourceVersion` and the point where the list continues.
    pub(super) async fn list_reply(
        &self,
        metadata: &Value,
        items: &[Bytes],
    ) -> Result<Reply, ApiError> {
        let format = self.accept.format;
        if self.accept.view != View::Object || format != Format::Json {
            let bytes: usize = items.iter().map(Bytes::len).sum();
            let body = match bytes < LARGE_LIST {
                true => format.encode(&self.viewer()?.list(metadata, items)?)?,
                false => self.large_list(metadata, items).await?,
            };
            return Ok(reply(200, format, ResponseBody::full(body)));
        }
        let kind = json!(self.kind().list_name);
        let api_version = json!(self.kind().api_version());
        let head = format!(
            "{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":["
        );
        let items = items
            .iter()
            .map(|stored| conversion::present(self.kind(), stored))
            .collect::<Result<_, _>>()?;
        Ok(reply(200, format, ResponseBody::list(head, items)))
    }
}
