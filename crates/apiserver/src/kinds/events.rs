//! Events: deleted after an hour, selectable by the object they are about. Stored in the form of the core group;
//! events.k8s.io shows the same objects with its own field names, as in Kubernetes.

use std::time::Duration;

use k8s_openapi::api::{core, events};
use serde_json::{Value, json};

use super::{
    column::{Cell, Column, column, name_column, path_column},
    kind::{Kind, SchemaSource, StoredAs},
    typed,
};
use crate::codec::protobuf::{self, Form, Message};

/// Kubernetes' default (`--event-ttl`).
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// The core group's fields that a field selector may name.
const SELECTABLE: &[&str] = &[
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
];

const CORE_MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (
        2,
        "involvedObject",
        Form::Message(protobuf::OBJECT_REFERENCE),
    ),
    (3, "reason", Form::Text),
    (4, "message", Form::Text),
    (5, "source", Form::Message(SOURCE)),
    (6, "firstTimestamp", Form::Time),
    (7, "lastTimestamp", Form::Time),
    (8, "count", Form::Int),
    (9, "type", Form::Text),
    (10, "eventTime", Form::MicroTime),
    (11, "series", Form::Message(SERIES)),
    (12, "action", Form::Text),
    (13, "related", Form::Message(protobuf::OBJECT_REFERENCE)),
    (14, "reportingComponent", Form::Text),
    (15, "reportingInstance", Form::Text),
];
const EVENTS_K8S_IO_MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "eventTime", Form::MicroTime),
    (3, "series", Form::Message(SERIES)),
    (4, "reportingController", Form::Text),
    (5, "reportingInstance", Form::Text),
    (6, "action", Form::Text),
    (7, "reason", Form::Text),
    (8, "regarding", Form::Message(protobuf::OBJECT_REFERENCE)),
    (9, "related", Form::Message(protobuf::OBJECT_REFERENCE)),
    (10, "note", Form::Text),
    (11, "type", Form::Text),
    (12, "deprecatedSource", Form::Message(SOURCE)),
    (13, "deprecatedFirstTimestamp", Form::Time),
    (14, "deprecatedLastTimestamp", Form::Time),
    (15, "deprecatedCount", Form::Int),
];
const SOURCE: &Message = &[(1, "component", Form::Text), (2, "host", Form::Text)];
const SERIES: &Message = &[
    (1, "count", Form::Int),
    (2, "lastObservedTime", Form::MicroTime),
];

/// The events of the core group.
pub(super) fn core() -> Kind {
    let schema = || typed::of::<core::v1::Event>("io.k8s.api.core.v1.Event");
    Kind {
        protobuf: Some(CORE_MESSAGE),
        selectable_fields: SELECTABLE,
        columns: core_columns(),
        ..event("", SchemaSource::Typed(schema))
    }
}

/// The events of events.k8s.io, which kube-rs' recorder writes.
pub(super) fn events_k8s_io() -> Kind {
    let schema = || typed::of::<events::v1::Event>("io.k8s.api.events.v1.Event");
    Kind {
        protobuf: Some(EVENTS_K8S_IO_MESSAGE),
        // Those that have the same name in the stored form.
        selectable_fields: &["reason", "type"],
        columns: events_k8s_io_columns(),
        stored_as: Some(StoredAs {
            group: "",
            to_stored: |object| rename(object, NAMES.into_iter()),
            from_stored: |object| rename(object, NAMES.into_iter().map(|(new, core)| (core, new))),
        }),
        ..event("events.k8s.io", SchemaSource::Typed(schema))
    }
}

fn event(group: &str, schema: SchemaSource) -> Kind {
    Kind {
        short_names: vec!["ev".into()],
        merge_keys: Some(&[]),
        time_to_live: Some(TIME_TO_LIVE),
        unconditional_update: true,
        create_on_update: true,
        ..Kind::new(group, "v1", "events", "Event", schema)
    }
}

/// The fields that differ: the name in events.k8s.io, the name in the core group.
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
        column("Object", "string", Cell::Computed(object)),
        path_column("Message", message),
        name,
    ]
}

fn core_columns() -> Vec<Column> {
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

fn events_k8s_io_columns() -> Vec<Column> {
    let times = [
        ".series.lastObservedTime",
        ".deprecatedLastTimestamp",
        ".eventTime",
        ".metadata.creationTimestamp",
    ];
    table(times, |event| reference(&event["regarding"]), ".note")
}
