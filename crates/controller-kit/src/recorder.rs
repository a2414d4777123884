//! Kubernetes events (`kubectl get events`): what happened to an object, for people.
//!
//! Events are best effort and written in the background: no controller waits for one, and a failed write is only logged.
//! They are core/v1 events, which every API server has. A repeated event raises the count of the first one, as in
//! client-go. Their number is bounded, so that an object whose state flaps does not fill the store (hazard 55): an object
//! has a few events for each reason, and a repetition is written at most once each [`REPEAT`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;

use crate::call::{CallError, call};

/// More unwritten events than this mean that the server is stuck; then the newest are dropped.
const QUEUE: usize = 256;
/// The number of recent events that are remembered to count repetitions.
const REMEMBERED: usize = 512;
/// The number of events of one object with the same reason and different messages; after that, the next message replaces
/// the oldest.
const PER_REASON: usize = 3;
/// Repetitions of one event within this time are counted and written together.
const REPEAT: Duration = Duration::from_secs(10);
/// Kubernetes' limit for the message of an event, in bytes.
const MAX_MESSAGE: usize = 1024;

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something happened as it should.
    Normal,
    /// Something went wrong.
    Warning,
}

/// A reference to an object, for its events.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        ..Default::default()
    }
}

/// Something that happened to an object.
struct Occurrence {
    object: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Writes events. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// A recorder, and the task that writes its events; it ends when the last recorder is dropped.
    pub fn new(
        client: Client,
        component: String,
        instance: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (queue, occurrences) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            component,
            instance,
            written: VecDeque::new(),
        };
        (Recorder { queue }, writer.run(occurrences))
    }

    /// Records what has just happened to an object.
    pub fn record(&self, object: ObjectReference, severity: Severity, reason: &str, message: &str) {
        self.record_at(Timestamp::now(), object, severity, reason, message);
    }

    /// Records what happened to an object at that time.
    pub fn record_at(
        &self,
        at: Timestamp,
        object: ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        let occurrence = Occurrence {
            object,
            severity,
            reason: reason.to_owned(),
            message: message[..end].to_owned(),
            at,
        };
        if let Err(error) = self.queue.try_send(occurrence) {
            tracing::debug!(reason, %error, "event dropped");
        }
    }
}

/// An event that was written.
struct Written {
    uid: Option<String>,
    reason: String,
    namespace: String,
    name: String,
    /// The newest message and time, and how often the event occurred; written down or not.
    message: String,
    at: Timestamp,
    count: i32,
    /// When it was written last.
    written: Instant,
    /// It occurred again since.
    repeated: bool,
}

struct Writer {
    client: Client,
    component: String,
    instance: String,
    /// The event that occurred longest ago comes first.
    written: VecDeque<Written>,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        loop {
            let due = self.written.iter().filter(|event| event.repeated);
            let due = due.map(|event| event.written + REPEAT).min();
            let flush = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let result = tokio::select! {
                occurrence = occurrences.recv() => match occurrence {
                    Some(occurrence) => self.take(occurrence).await,
                    None => return,
                },
                () = flush => self.write_repeated().await,
            };
            if let Err(error) = result {
                tracing::debug!(%error, "event not written");
            }
        }
    }

    /// Writes a new event, or counts a repetition.
    async fn take(&mut self, occurrence: Occurrence) -> Result<(), CallError> {
        if let Some(mut event) =
            repeated(&self.written, &occurrence).and_then(|index| self.written.remove(index))
        {
            event.count = event.count.saturating_add(1);
            event.message = occurrence.message;
            event.at = occurrence.at;
            event.repeated = true;
            self.written.push_back(event);
            return self.write_repeated().await;
        }
        self.create(&occurrence).await
    }

    /// Writes down the repetitions of events that were written long enough ago.
    async fn write_repeated(&mut self) -> Result<(), CallError> {
        let now = Instant::now();
        let mut result = Ok(());
        for event in &mut self.written {
            if !event.repeated || event.written + REPEAT > now {
                continue;
            }
            event.repeated = false;
            event.written = now;
            let api: Api<Event> = Api::namespaced(self.client.clone(), &event.namespace);
            let patch = Patch::Merge(json!({
                "count": event.count, "lastTimestamp": Time(event.at), "message": event.message,
            }));
            let params = PatchParams::default();
            let patched = api.patch(&event.name, &params, &patch);
            result = match call(|| format!("update event {}", event.name), patched).await {
                // It has expired: the next occurrence is a new event.
                Err(error) if error.is_not_found() => {
                    event.name.clear();
                    continue;
                }
                Err(error) => Err(error),
                Ok(_) => continue,
            };
        }
        self.written.retain(|event| !event.name.is_empty());
        result
    }

    async fn create(&mut self, occurrence: &Occurrence) -> Result<(), CallError> {
        let object = &occurrence.object;
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let about = object.name.as_deref().unwrap_or("unknown");
        // As client-go names them, so that two of the same moment differ.
        let name = format!("{about}.{:x}", Timestamp::now().as_nanosecond());
        let event = self.event(occurrence, name.clone(), namespace.clone());
        call(
            || format!("create event {name}"),
            api.create(&PostParams::default(), &event),
        )
        .await?;
        if self.written.len() >= REMEMBERED {
            self.written.pop_front();
        }
        self.written.push_back(Written {
            uid: object.uid.clone(),
            reason: occurrence.reason.clone(),
            namespace,
            name,
            message: occurrence.message.clone(),
            at: occurrence.at,
            count: 1,
            written: Instant::now(),
            repeated: false,
        });
        Ok(())
    }

    fn event(&self, occurrence: &Occurrence, name: String, namespace: String) -> Event {
        let severity = match occurrence.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace),
                ..Default::default()
            },
            involved_object: occurrence.object.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(occurrence.message.clone()),
            type_: Some(severity.into()),
            count: Some(1),
            first_timestamp: Some(Time(occurrence.at)),
            last_timestamp: Some(Time(occurrence.at)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: None,
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Default::default()
        }
    }
}

/// The written event that this occurrence repeats, or replaces because its object has enough events of this reason.
fn repeated(written: &VecDeque<Written>, occurrence: &Occurrence) -> Option<usize> {
    let of_reason: Vec<usize> = (0..written.len())
        .filter(|&index| {
            let event = &written[index];
            event.uid == occurrence.object.uid && event.reason == occurrence.reason
        })
        .collect();
    let same = of_reason
        .iter()
        .find(|&&index| written[index].message == occurrence.message);
    same.or_else(|| of_reason.first().filter(|_| of_reason.len() >= PER_REASON))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(uid: &str, reason: &str, message: &str) -> Occurrence {
        Occurrence {
            object: ObjectReference {
                uid: Some(uid.into()),
                ..Default::default()
            },
            severity: Severity::Normal,
            reason: reason.into(),
            message: message.into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn repeated_event_is_counted_and_each_reason_has_a_few_events_at_most() {
        let written = |message: &str| Written {
            uid: Some("vm".into()),
            reason: "Failed".into(),
            namespace: "default".into(),
            name: message.into(),
            message: message.into(),
            at: Timestamp::UNIX_EPOCH,
            count: 1,
            written: Instant::now(),
            repeated: false,
        };
        let mut known = VecDeque::from([written("a"), written("b")]);
        let index = |known: &VecDeque<_>, uid, reason, message| {
            repeated(known, &occurrence(uid, reason, message))
        };
        assert_eq!(index(&known, "vm", "Failed", "b"), Some(1));
        assert_eq!(index(&known, "vm", "Failed", "c"), None);
        known.push_back(written("c"));
        let replaced = index(&known, "vm", "Failed", "d");
        assert_eq!(replaced, Some(0), "the oldest is replaced");
        assert_eq!(index(&known, "vm", "Failed", "c"), Some(2));
        assert_eq!(index(&known, "other", "Failed", "a"), None);
        assert_eq!(index(&known, "vm", "Started", "a"), None);
    }
}
