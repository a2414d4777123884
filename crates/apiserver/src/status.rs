//! [`ApiError`]: errors as Kubernetes reports them, `metav1.Status` with reason, code, details and causes.

use serde_json::{Value, json};

/// The number of causes that an error lists.
pub(crate) const MAX_CAUSES: usize = 100;

/// One fault in a field (`metav1.StatusCause`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {detail}", shown(value)),
            field: field.into(),
        }
    }

    pub(crate) fn wrong_type(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self {
            reason: "FieldValueTypeInvalid",
            message: format!("Invalid value: {}: {detail}", shown(value)),
            field: field.into(),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, allowed: &[Value]) -> Self {
        Self {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                shown(value),
                shown_list(allowed.iter())
            ),
            field: field.into(),
        }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {}", shown(value)),
            field: field.into(),
        }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {detail}"),
            field: field.into(),
        }
    }

    pub(crate) fn too_long(field: impl Into<String>, detail: &str) -> Self {
        Self {
            reason: "FieldValueTooLong",
            message: format!("Too long: {detail}"),
            field: field.into(),
        }
    }
}

/// The longest JSON of a value that a message shows, in bytes.
const MAX_SHOWN: usize = 256;
/// The longest list of allowed values that a message shows, in bytes.
const MAX_SHOWN_LIST: usize = 1024;

/// Keeps the first bytes that are written to it, then fails, so that showing a large value costs little.
struct Start(Vec<u8>);

impl std::io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = (MAX_SHOWN + 1).saturating_sub(self.0.len());
        if left == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.len().min(left);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The value as a message shows it: as JSON if it is short, otherwise its start or its type.
pub(crate) fn shown(value: &Value) -> String {
    let mut start = Start(Vec::new());
    let whole = serde_json::to_writer(&mut start, value).is_ok() && start.0.len() <= MAX_SHOWN;
    match value {
        _ if whole => String::from_utf8_lossy(&start.0).into_owned(),
        Value::Object(_) => "\"object\"".into(),
        Value::Array(_) => "\"array\"".into(),
        _ => {
            let text = String::from_utf8_lossy(&start.0[..start.0.len().min(MAX_SHOWN - 8)]);
            format!("{}…\"", text.trim_end_matches('\u{fffd}'))
        }
    }
}

/// The start of a text that a client sent, for messages.
pub(crate) fn text_start(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SHOWN)]
}

/// Values as a message lists them, cut after [`MAX_SHOWN_LIST`] bytes.
fn shown_list<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    let mut out = String::new();
    for value in values {
        if !out.is_empty() {
            out.push_str(", ");
        }
        if out.len() > MAX_SHOWN_LIST {
            out.push('…');
            break;
        }
        out.push_str(&shown(value));
    }
    out
}

/// An error that the client receives as a `metav1.Status`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

/// The kind that an error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) kind: &'a str,
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.into()
    } else {
        format!("{name}.{group}")
    }
}

impl About<'_> {
    fn details(&self, name: &str) -> Option<Value> {
        let mut details = json!({"name": name, "kind": self.plural});
        if !self.group.is_empty() {
            details["group"] = self.group.into();
        }
        Some(details)
    }

    fn resource(&self) -> String {
        qualified(self.plural, self.group)
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        let message = format!("{} {name:?} not found", self.resource());
        ApiError::new(404, "NotFound", message).with(self.details(name))
    }

    pub(crate) fn already_exists(&self, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", self.resource());
        ApiError::new(409, "AlreadyExists", message).with(self.details(name))
    }

    pub(crate) fn conflict(&self, name: &str, why: &str) -> ApiError {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            self.resource()
        );
        ApiError::new(409, "Conflict", message).with(self.details(name))
    }

    pub(crate) fn modified(&self, name: &str) -> ApiError {
        self.conflict(
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn forbidden(&self, name: &str, why: &str) -> ApiError {
        let subject = if name.is_empty() {
            self.resource()
        } else {
            format!("{} {name:?}", self.resource())
        };
        ApiError::new(403, "Forbidden", format!("{subject} is forbidden: {why}"))
            .with(self.details(name))
    }

    pub(crate) fn invalid(&self, name: &str, causes: &[Cause]) -> ApiError {
        let causes = &causes[..causes.len().min(MAX_CAUSES)];
        let mut all: Vec<String> = causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        let errors = match all.len() {
            1 => all.remove(0),
            _ => format!("[{}]", all.join(", ")),
        };
        let message = format!(
            "{} {name:?} is invalid: {errors}",
            qualified(self.kind, self.group)
        );
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        let mut details = json!({"name": name, "kind": self.kind, "causes": causes});
        if !self.group.is_empty() {
            details["group"] = self.group.into();
        }
        ApiError::new(422, "Invalid", message).with(Some(details))
    }
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    pub(crate) fn with(mut self, details: Option<Value>) -> Self {
        self.details = details;
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The path names nothing that is served.
    pub(crate) fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with(Some(json!({})))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with(Some(json!({})))
    }

    pub(crate) fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::new(406, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub(crate) fn too_many_requests() -> Self {
        let message = "The server is busy with other writes, please try again later";
        Self::new(429, "TooManyRequests", message).with(Some(json!({"retryAfterSeconds": 1})))
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {}", message.into()),
        )
    }

    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Compacted { asked, oldest } => Self::expired(format!(
                "The resourceVersion for the provided watch is too old: {asked} (oldest {oldest})"
            )),
            store::Error::Lagged => {
                Self::expired("the watcher fell behind and was cut off; list again")
            }
            store::Error::Future { asked, current } => {
                let message = format!("Too large resource version: {asked}, current: {current}");
                Self::new(504, "Timeout", format!("Timeout: {message}")).with(Some(json!({
                    "retryAfterSeconds": 1,
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                })))
            }
            store::Error::Closed => {
                Self::new(503, "ServiceUnavailable", "the server is shutting down")
            }
            other => Self::internal(other.to_string()),
        }
    }
}
