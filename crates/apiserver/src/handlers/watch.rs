//! Watches: what is there (when asked for), then everything that happens, until the time is over, the client goes,
//! or the server stops.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use serde_json::{Value, json};
use store::{Entry, Event, Revision};

use super::{
    Call, Closing,
    output::{Output, Reply, stream_reply},
    selection::Selection,
};
use crate::{
    object,
    print::{self, IncludeObject},
    registry::Resource,
    status::ApiError,
};
use std::sync::Arc;

/// How long a watch lasts when the client does not say; the same order as Kubernetes' (30 to 60 minutes).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// The longest that a client can ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Marks the bookmark after the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One watch.
struct Watch {
    resource: Arc<Resource>,
    selection: Selection,
    output: Output,
    include: IncludeObject,
    clock: crate::Clock,
    /// Still to be told as ADDED.
    initial: std::vec::IntoIter<Entry>,
    /// The bookmark that ends the initial events.
    initial_end: Option<Revision>,
    bookmarks: bool,
    events: BoxStream<'static, Result<Event, store::Error>>,
    deadline: Pin<Box<tokio::time::Sleep>>,
    closing: Closing,
    /// The columns of a table are sent once.
    columns_sent: bool,
    ended: bool,
}

pub(super) fn watch(call: &Call) -> Result<Reply, ApiError> {
    let mut selection = Selection::parse(call)?;
    if !call.target.name.is_empty() {
        selection = selection.of_name(&call.target.name);
    }
    let mut prefix = call.resource().prefix(call.target.namespace.as_deref());
    if call.target.namespace.is_some() == call.resource().namespaced
        && let Some(name) = selection.name()
    {
        prefix += name;
    }
    let timeout = call
        .query
        .number("timeoutSeconds")?
        .map(Duration::from_secs);
    let timeout = timeout
        .filter(|t| !t.is_zero())
        .unwrap_or(DEFAULT_TIMEOUT)
        .min(MAX_TIMEOUT);
    let asked = call.query.number("resourceVersion")?;
    let send_initial = match call.query.get("sendInitialEvents") {
        None => None,
        Some(value) => {
            if call.query.get("resourceVersionMatch") != Some("NotOlderThan") {
                return Err(ApiError::new(
                    422,
                    "Invalid",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            Some(value == "true")
        }
    };
    let store = &call.server().store;
    // Without a revision a watch starts with what is there.
    let initial = send_initial.unwrap_or(matches!(asked, None | Some(0)));
    let mut watch = Watch {
        resource: Arc::clone(call.resource()),
        output: call.output,
        include: call.include_object()?,
        clock: Arc::clone(&call.server().clock),
        initial: Vec::new().into_iter(),
        initial_end: None,
        bookmarks: call.query.flag("allowWatchBookmarks"),
        events: futures::stream::empty().boxed(),
        deadline: Box::pin(tokio::time::sleep(timeout)),
        closing: call.request.closing.clone(),
        columns_sent: false,
        ended: false,
        selection,
    };
    let start = if initial {
        if let Some(asked) = asked.filter(|asked| *asked > store.revision()) {
            return Err(store::Error::Future {
                asked,
                current: store.revision(),
            }
            .into());
        }
        let page = store.list(&prefix, None, 0, None)?;
        let (selection, mut entries) = (&watch.selection, page.entries);
        entries.retain(|e| selection.selects(&e.value));
        watch.initial = entries.into_iter();
        watch.initial_end = (send_initial == Some(true)).then_some(page.revision);
        page.revision
    } else {
        asked
            .filter(|asked| *asked != 0)
            .unwrap_or_else(|| store.revision())
    };
    watch.events = match store.watch(&prefix, start) {
        Ok(events) => events,
        // The answer has begun by the time a watch cache finds this out, so clients expect it as an event.
        Err(error @ store::Error::Compacted { .. }) => futures::stream::iter([Err(error)]).boxed(),
        Err(error) => return Err(error.into()),
    };
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    });
    Ok(stream_reply(stream.boxed()))
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out.freeze()
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(entry) = self.initial.next() {
            return Some(self.event("ADDED", &entry.value));
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(self.bookmark(revision, true));
        }
        loop {
            let event = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = &mut self.deadline => return None,
                event = self.events.next() => event?,
            };
            match event {
                Ok(event) => {
                    if let Some(frame) = self.tell(event) {
                        return Some(frame);
                    }
                }
                Err(store::Error::Closed) => return None,
                Err(error) => {
                    self.ended = true;
                    let status = ApiError::from(error).status().to_string();
                    return Some(frame("ERROR", status.as_bytes()));
                }
            }
        }
    }

    /// The event as this watcher sees it: an object that enters the selection is added, one that leaves is deleted.
    fn tell(&mut self, event: Event) -> Option<Bytes> {
        match event {
            Event::Put { entry, previous } => {
                let now = self.selection.selects(&entry.value);
                let before = previous
                    .as_ref()
                    .filter(|p| self.selection.selects(&p.value));
                match (before, now) {
                    (None, false) => None,
                    (None, true) => Some(self.event("ADDED", &entry.value)),
                    (Some(_), true) => Some(self.event("MODIFIED", &entry.value)),
                    (Some(previous), false) => {
                        let last = object::with_revision(&previous.value, entry.revision);
                        Some(self.event("DELETED", &last))
                    }
                }
            }
            Event::Delete { entry, previous } => {
                let selected = self.selection.selects(&previous.value);
                selected.then(|| self.event("DELETED", &entry.value))
            }
            Event::Progress(revision) => self.bookmarks.then(|| self.bookmark(revision, false)),
        }
    }

    fn event(&mut self, kind: &str, bytes: &Bytes) -> Bytes {
        let bytes = self.resource.present(bytes);
        if self.output == Output::Json {
            return frame(kind, &bytes);
        }
        let object: Value = object::decode_or_head(&bytes).unwrap_or_default();
        let shown = match self.output {
            Output::Partial => print::partial(&object),
            _ => {
                let row = print::row(&self.resource, &object, self.include, (self.clock)());
                self.table(&object["metadata"]["resourceVersion"], &[row])
            }
        };
        frame(kind, shown.to_string().as_bytes())
    }

    fn table(&mut self, revision: &Value, rows: &[Value]) -> Value {
        let columns = match std::mem::replace(&mut self.columns_sent, true) {
            true => Value::Null,
            false => print::definitions(&self.resource),
        };
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision},
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.output {
            Output::Json => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Output::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Output::Table => {
                let about = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
                let row = json!({"cells": [], "object": about});
                self.table(&metadata["resourceVersion"], &[row])
            }
        };
        frame("BOOKMARK", object.to_string().as_bytes())
    }
}
