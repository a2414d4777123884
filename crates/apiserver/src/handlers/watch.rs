//! Watches: the existing objects if requested, then every change, until the timeout, or until the client or the server
//! ends the watch.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use serde_json::json;
use store::{Entry, Event, Revision};

use super::{
    call::Call,
    reply::{Reply, stream_reply},
    request::Closing,
    selection::Selection,
};
use crate::{
    codec::response::Format,
    config::Clock,
    kinds::kind::Kind,
    object,
    print::IncludeObject,
    status::ApiError,
    view::{Shown, View, Viewer},
};

/// How long a watch lasts if the client names no timeout (Kubernetes: 30 to 60 minutes).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// The longest timeout that a client can name.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The annotation of the bookmark after the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One watch.
struct Watch {
    kind: Arc<Kind>,
    selection: Selection,
    view: View,
    include: IncludeObject,
    clock: Clock,
    /// Existing objects that are not sent yet.
    initial: std::vec::IntoIter<Entry>,
    /// The revision of the bookmark that ends the initial events, until it is sent.
    initial_end: Option<Revision>,
    bookmarks: bool,
    events: BoxStream<'static, Result<Event, store::Error>>,
    deadline: Pin<Box<tokio::time::Sleep>>,
    closing: Closing,
    /// Whether the columns of a table have been sent, which happens once.
    columns_sent: bool,
    ended: bool,
}

pub(super) fn watch(call: &Call) -> Result<Reply, ApiError> {
    if call.accept.format != Format::Json {
        return Err(ApiError::not_acceptable("application/json"));
    }
    let mut selection = Selection::parse(call)?;
    if !call.target.name.is_empty() {
        selection = selection.of_name(&call.target.name);
    }
    let mut prefix = call.kind().prefix(call.target.namespace.as_deref());
    if call.target.namespace.is_some() == call.kind().namespaced
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
    let store = &call.backend().store;
    // Without a revision a watch starts with the existing objects.
    let initial = send_initial.unwrap_or(matches!(asked, None | Some(0)));
    let mut watch = Watch {
        kind: Arc::clone(call.kind()),
        view: call.accept.view,
        include: call.include_object()?,
        clock: Arc::clone(&call.backend().clock),
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
        // Kubernetes' watch cache notices this after the response has begun, so clients expect an event.
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
                    if let Some(frame) = self.change(event) {
                        return Some(frame);
                    }
                }
                Err(store::Error::Closed) => return None,
                Err(error) => return Some(self.error(&error.into())),
            }
        }
    }

    /// Returns the event for this selection: an object that enters it is added, one that leaves it is deleted.
    fn change(&mut self, event: Event) -> Option<Bytes> {
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

    fn event(&mut self, kind: &str, stored: &Bytes) -> Bytes {
        let shown = self.viewer().object(stored, !self.columns_sent);
        self.columns_sent = true;
        match shown {
            Ok(Shown::Json(bytes)) => frame(kind, &bytes),
            Ok(Shown::Value(value)) => frame(kind, value.to_string().as_bytes()),
            Err(error) => self.error(&error),
        }
    }

    /// Ends the watch with an error event.
    fn error(&mut self, error: &ApiError) -> Bytes {
        self.ended = true;
        frame("ERROR", error.status().to_string().as_bytes())
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = self.viewer().bookmark(&metadata, !self.columns_sent);
        self.columns_sent = true;
        frame("BOOKMARK", object.to_string().as_bytes())
    }

    fn viewer(&self) -> Viewer<'_> {
        Viewer {
            kind: &self.kind,
            view: self.view,
            include: self.include,
            now: (self.clock)(),
        }
    }
}
