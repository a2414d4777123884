//! Events (`kubectl get events`): what happened to an object, for people.
//!
//! Best effort and in the background: no reconciler waits for one, and none fails because one could not be written.
//! They are core/v1 events, which every API server has; the same one again raises its count, as client-go does. An object
//! has a few events for each reason at most: a VM that fails for hours with ever new words must not fill the store.

use std::collections::VecDeque;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api_call::call;

/// More than this many unwritten events mean that the server is stuck, and then the newest are dropped.
const QUEUE: usize = 256;
/// So many of the last events are remembered, to count repetitions.
const REMEMBERED: usize = 512;
/// Events of one object with the same reason and different messages; the next message takes the place of the oldest.
const OF_A_REASON: usize = 3;
/// Kubernetes' limit of an event's message, in bytes.
const MAX_MESSAGE: usize = 1024;

/// What kind of news it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

struct News {
    about: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Writes events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<News>,
}

impl Recorder {
    /// A recorder, and the work that it needs done: run it beside the rest. It ends when the last recorder is gone.
    pub(crate) fn new(
        client: Client,
        component: &'static str,
        instance: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (queue, news) = mpsc::channel(QUEUE);
        (
            Recorder { queue },
            Writer {
                client,
                component,
                instance,
                written: VecDeque::new(),
            }
            .run(news),
        )
    }

    /// Tells what has just happened to an object.
    pub(crate) fn tell(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        self.tell_of(Timestamp::now(), about, severity, reason, message);
    }

    /// Tells what happened to an object at that time.
    pub(crate) fn tell_of(
        &self,
        at: Timestamp,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        let cut = (0..=message.len().min(MAX_MESSAGE))
            .rev()
            .find(|&at| message.is_char_boundary(at))
            .unwrap_or(0);
        let news = News {
            about,
            severity,
            reason: reason.to_owned(),
            message: message[..cut].to_owned(),
            at,
        };
        if let Err(error) = self.queue.try_send(news) {
            tracing::debug!(reason, %error, "event dropped");
        }
    }
}

struct Written {
    uid: Option<String>,
    reason: String,
    message: String,
    name: String,
    count: i32,
}

struct Writer {
    client: Client,
    component: &'static str,
    instance: String,
    written: VecDeque<Written>,
}

impl Writer {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        while let Some(item) = news.recv().await {
            if let Err(error) = self.write(&item).await {
                tracing::debug!(reason = item.reason, %error, "event not written");
            }
        }
    }

    async fn write(&mut self, news: &News) -> Result<(), crate::api_call::CallError> {
        let namespace = news
            .about
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(index) = earlier(&self.written, news) {
            let old = &self.written[index];
            let name = old.name.clone();
            let count = old.count.saturating_add(1);
            let patch = Patch::Merge(json!({
                "count": count, "lastTimestamp": Time(news.at), "message": news.message,
            }));
            match call(
                || format!("count event {name}"),
                api.patch(&name, &PatchParams::default(), &patch),
            )
            .await
            {
                Ok(_) => {
                    // To the end, so that the one that is longest ago is forgotten, or replaced, first.
                    if let Some(mut old) = self.written.remove(index) {
                        old.count = count;
                        old.message.clone_from(&news.message);
                        self.written.push_back(old);
                    }
                    return Ok(());
                }
                // Events do not live long: then it is a new one.
                Err(error) if error.is_not_found() => self.written.retain(|old| old.name != name),
                Err(error) => return Err(error),
            }
        }
        let about = news.about.name.as_deref().unwrap_or("unknown");
        // As client-go names them, so that two of one moment differ.
        let name = format!("{about}.{:x}", Timestamp::now().as_nanosecond());
        let event = self.event(news, name.clone(), namespace);
        call(
            || format!("write event {name}"),
            api.create(&PostParams::default(), &event),
        )
        .await?;
        if self.written.len() >= REMEMBERED {
            self.written.pop_front();
        }
        self.written.push_back(Written {
            uid: news.about.uid.clone(),
            reason: news.reason.clone(),
            message: news.message.clone(),
            name,
            count: 1,
        });
        Ok(())
    }

    fn event(&self, news: &News, name: String, namespace: String) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace),
                ..Default::default()
            },
            involved_object: news.about.clone(),
            reason: Some(news.reason.clone()),
            message: Some(news.message.clone()),
            type_: Some(
                if news.severity == Severity::Normal {
                    "Normal"
                } else {
                    "Warning"
                }
                .into(),
            ),
            count: Some(1),
            first_timestamp: Some(Time(news.at)),
            last_timestamp: Some(Time(news.at)),
            source: Some(EventSource {
                component: Some(self.component.into()),
                host: None,
            }),
            reporting_component: Some(self.component.into()),
            reporting_instance: Some(self.instance.clone()),
            ..Default::default()
        }
    }
}

/// The event that this one is counted with: the same one, else the oldest of its reason when there are enough.
fn earlier(written: &VecDeque<Written>, news: &News) -> Option<usize> {
    let of_reason: Vec<usize> = (0..written.len())
        .filter(|&index| {
            let old = &written[index];
            old.uid == news.about.uid && old.reason == news.reason
        })
        .collect();
    let same = of_reason
        .iter()
        .find(|&&index| written[index].message == news.message);
    same.or_else(|| of_reason.first().filter(|_| of_reason.len() >= OF_A_REASON))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(uid: &str, reason: &str, message: &str) -> News {
        News {
            about: ObjectReference {
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
    fn the_same_event_is_counted_and_a_reason_has_a_few_events_at_most() {
        let written = |message: &str| Written {
            uid: Some("vm".into()),
            reason: "Failed".into(),
            message: message.into(),
            name: message.into(),
            count: 1,
        };
        let mut known = VecDeque::from([written("a"), written("b")]);
        assert_eq!(earlier(&known, &news("vm", "Failed", "b")), Some(1));
        assert_eq!(earlier(&known, &news("vm", "Failed", "c")), None);
        known.push_back(written("c"));
        assert_eq!(
            earlier(&known, &news("vm", "Failed", "d")),
            Some(0),
            "in place of the oldest"
        );
        assert_eq!(earlier(&known, &news("vm", "Failed", "c")), Some(2));
        assert_eq!(earlier(&known, &news("other", "Failed", "a")), None);
        assert_eq!(earlier(&known, &news("vm", "Started", "a")), None);
    }
}
