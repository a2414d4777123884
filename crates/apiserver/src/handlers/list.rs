//! GET of a collection.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};
use store::Revision;

use super::{call::Call, reply::Reply, selection::Selection};
use crate::status::ApiError;

/// The number of entries that are examined before the task yields to other requests.
const STEP: usize = 1000;
/// How long a list waits for a future revision (Kubernetes' watch cache waits as long).
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);

/// The point where a list continues: at this revision, after this key.
struct Continue {
    revision: Revision,
    after: String,
}

impl Continue {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD
            .encode(json!({"v": "rdd/v1", "rv": self.revision, "start": self.after}).to_string())
    }

    fn decode(token: &str, prefix: &str) -> Result<Self, ApiError> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
            let value: Value = serde_json::from_slice(&bytes).ok()?;
            let after = value["start"].as_str()?.to_owned();
            // A token of another collection must not start a list outside this one.
            (value["v"] == "rdd/v1" && after.starts_with(prefix)).then_some(())?;
            Some(Self {
                revision: value["rv"].as_u64()?,
                after,
            })
        };
        parse().ok_or_else(|| ApiError::bad_request("continue: the token is not valid"))
    }
}

pub(super) async fn list(call: &Call) -> Result<Reply, ApiError> {
    let prefix = call.kind().prefix(call.target.namespace.as_deref());
    let selection = Selection::parse(call)?;
    let limit = usize::try_from(call.query.number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let (mut after, mut at) = match call.query.get("continue") {
        Some(token) => {
            if call.query.get("resourceVersion").is_some_and(|v| v != "0") {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Continue::decode(token, &prefix)?;
            (Some(token.after), Some(token.revision))
        }
        None => (None, wanted_revision(call).await?),
    };

    let mut items: Vec<Bytes> = Vec::new();
    let mut last_key = None;
    let (revision, remaining) = loop {
        let all = selection.is_empty();
        let step = match limit {
            0 if all => 0,
            _ if all => limit,
            _ => STEP,
        };
        let page = call
            .backend()
            .store
            .list(&prefix, after.as_deref(), step, at)
            .map_err(expired)?;
        at = Some(page.revision);
        after = page.entries.last().map(|e| e.key.clone());
        let seen = page.entries.len();
        let mut used = 0;
        for entry in &page.entries {
            used += 1;
            if selection.selects(&entry.value) {
                items.push(entry.value.clone());
                last_key = Some(entry.key.clone());
                if limit != 0 && items.len() == limit {
                    break;
                }
            }
        }
        let left = page.remaining + (seen - used);
        if left == 0 || all || limit != 0 && items.len() == limit {
            break (page.revision, left);
        }
        tokio::task::yield_now().await;
    };

    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (true, Some(after)) = (remaining > 0, last_key) {
        metadata["continue"] = Continue { revision, after }.encode().into();
        // With a selector, the number of remaining items is unknown.
        if selection.is_empty() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    call.list_reply(&metadata, &items).await
}

fn expired(error: store::Error) -> ApiError {
    match error {
        store::Error::Compacted { .. } => ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You must start a new \
             list without the continue parameter.",
        ),
        other => other.into(),
    }
}

/// Returns the revision at which to read the list; waits for a future one.
async fn wanted_revision(call: &Call) -> Result<Option<Revision>, ApiError> {
    let matching = call.query.get("resourceVersionMatch");
    let Some(asked) = call
        .query
        .number("resourceVersion")?
        .filter(|v| *v != 0 || matching == Some("Exact"))
    else {
        if matching.is_some() && call.query.get("resourceVersion").is_none() {
            return Err(ApiError::bad_request(
                "resourceVersionMatch is forbidden for list unless resourceVersion is provided",
            ));
        }
        return Ok(None);
    };
    if let Some(other) = matching.filter(|m| !["Exact", "NotOlderThan"].contains(m)) {
        return Err(ApiError::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        )));
    }
    if matching == Some("Exact") && asked == 0 {
        return Err(ApiError::bad_request(
            "resourceVersionMatch Exact is forbidden for resourceVersion 0",
        ));
    }
    let store = &call.backend().store;
    match tokio::time::timeout(WAIT_FOR_REVISION, store.wait_for(asked)).await {
        Ok(reached) => reached?,
        Err(_) => {
            let current = store.revision();
            return Err(store::Error::Future { asked, current }.into());
        }
    }
    Ok((matching == Some("Exact")).then_some(asked))
}
