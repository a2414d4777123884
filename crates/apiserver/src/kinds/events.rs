//! Events: kept for an hour, selectable by what they are about. Stored in the core group's form; events.k8s.io shows
//! the same objects with its own names of the fields, as in Kubernetes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, name_column, path_column};
use crate::registry::{Cell, Column, Strategy, View};

/// Kubernetes' default (`--event-ttl`).
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

pub(crate) struct Events;

impl Strategy for Events {
    fn fields(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(TIME_TO_LIVE)
    }
}

/// The events of events.k8s.io, which kube-rs' recorder writes.
pub(crate) struct NewEvents;

impl Strategy for NewEvents {
    fn fields(&self) -> &'static [&'static str] {
        // Those that have the same name in the stored form.
        &["reason", "type"]
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(TIME_TO_LIVE)
    }
}

/// Names in events.k8s.io and in the core group.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(object: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.into(), value);
        }
    }
}

pub(super) fn view() -> View {
    View {
        stored_group: "",
        to_stored: |object| rename(object, NAMES.into_iter()),
        from_stored: |object| rename(object, NAMES.into_iter().map(|(new, core)| (core, new))),
    }
}

fn reference(about: &Value) -> Value {
    let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
    json!(format!("{}/{}", text("kind").to_lowercase(), text("name")))
}

fn table(last_seen: [&str; 4], object: fn(&Value) -> Value, message: &str) -> Vec<Column> {
    let last_seen = Cell::AgeOf(last_seen.map(Into::into).to_vec());
    let mut name = name_column();
    name.priority = 1;
    vec![
        column("Last Seen", "string", last_seen),
        path_column("Type", ".type"),
        path_column("Reason", ".reason"),
        column("Object", "string", Cell::Made(object)),
        path_column("Message", message),
        name,
    ]
}

pub(super) fn columns() -> Vec<Column> {
    let times = [
        ".series.lastObservedTime",
        ".lastTimestamp",
        ".eventTime",
        ".metadata.creationTimestamp",
    ];
    table(
        times,
        |event| reference(&event["involvedObject"]),
        ".message",
    )
}

pub(super) fn new_columns() -> Vec<Column> {
    let times = [
        ".series.lastObservedTime",
        ".deprecatedLastTimestamp",
        ".eventTime",
        ".metadata.creationTimestamp",
    ];
    table(times, |event| reference(&event["regarding"]), ".note")
}
