//! `rdd limavm describe`: the state of a VM in the layout of `kubectl describe`. The data is in the VM's status and
//! events, so `kubectl describe limavm NAME` shows it as well.

use std::fmt::{Display, Write as _};
use std::path::Path;

use api::LimaVM;
use api::lima::{PhaseStatus, ProcessStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lima::layout::LimaHome;

use super::find::find;
use super::session::Session;
use super::state::{age, restarts, state};
use crate::output;
use crate::service::client::refused;

/// How many of the last events are shown: as many as fit on a screen.
const SHOWN_EVENTS: usize = 25;
/// The column of the values in the head.
const VALUE_COLUMN: usize = 20;

/// Prints the state of a VM.
pub(crate) async fn run(session: &Session<'_>, name: &str) -> anyhow::Result<()> {
    let (api, vm) = find(&session.client, name).await?;
    // By uid, to leave out the events of an earlier VM of the same name.
    let selector = format!(
        "involvedObject.name={name},involvedObject.uid={}",
        vm.uid().unwrap_or_default()
    );
    let namespace = api.namespace().unwrap_or("default");
    let events = Api::<Event>::namespaced(session.client.clone(), namespace)
        .list(&ListParams::default().fields(&selector))
        .await
        .map_err(refused)?
        .items;
    let home = LimaHome::new(session.context.paths.lima_home());
    let folder = home.instance(name)?;
    output::print(&story(&vm, &events, folder.path(), Timestamp::now()))
}

/// Composes the text, without I/O.
fn story(vm: &LimaVM, events: &[Event], folder: &Path, now: Timestamp) -> String {
    let mut text = String::new();
    head(&mut text, vm, folder, now);
    conditions(&mut text, vm, now);
    phases(&mut text, vm, now);
    last_error(&mut text, vm, now);
    happened(&mut text, events, now);
    text
}

fn head(text: &mut String, vm: &LimaVM, folder: &Path, now: Timestamp) {
    let name = vm.name_any();
    let status = vm.status.as_ref();
    line(text, "Name:", &name);
    line(text, "Namespace:", vm.namespace().unwrap_or_default());
    line(text, "State:", state(vm));
    let wanted = if vm.spec.running {
        "running"
    } else {
        "stopped"
    };
    line(text, "Declared:", wanted);
    if let Some(created) = &vm.metadata.creation_timestamp {
        line(text, "Created:", moment(created.0, now));
    }
    line(text, "Restarts:", restarts(vm));
    let template = status.and_then(|status| status.template_config_map.as_deref());
    let template = match (
        template,
        status.and_then(|status| status.observed_template_resource_version.as_deref()),
    ) {
        (Some(copy), Some(version)) => format!("ConfigMap {copy} (version {version} in effect)"),
        (Some(copy), None) => format!("ConfigMap {copy} (not in effect yet)"),
        (None, _) => "<none yet>".to_owned(),
    };
    line(text, "Template:", template);
    let source = &vm.spec.template_ref;
    line(text, "  Made from:", format!("ConfigMap {}", source.name));
    for (key, value) in &vm.spec.params {
        line(text, "  Param:", format!("{key}={value}"));
    }
    if let Some(grace) = vm
        .spec
        .stop
        .as_ref()
        .and_then(|stop| stop.grace_period.as_ref())
    {
        line(text, "Grace period:", grace);
    }
    line(
        text,
        "SSH:",
        status.and_then(|status| status.ssh_local_port).map_or_else(
            || "<none>".to_owned(),
            |port| format!("127.0.0.1:{port} (rdd limavm shell {name})"),
        ),
    );
    line(
        text,
        "Hostagent:",
        process(status.and_then(|status| status.hostagent.as_ref()), now),
    );
    line(
        text,
        "Machine:",
        process(status.and_then(|status| status.machine.as_ref()), now),
    );
    line(text, "Folder:", folder.display());
}

fn conditions(text: &mut String, vm: &LimaVM, now: Timestamp) {
    let rows: Vec<_> = vm
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .map(|condition| {
            [
                condition.type_.clone(),
                condition.status.clone(),
                condition.reason.clone(),
                since(condition.last_transition_time.0, now),
                in_one_line(&condition.message),
            ]
        })
        .collect();
    section(
        text,
        "Conditions:",
        ["Type", "Status", "Reason", "Age", "Message"],
        &rows,
    );
}

fn phases(text: &mut String, vm: &LimaVM, now: Timestamp) {
    let row = |phase: &PhaseStatus| {
        let duration = phase
            .duration
            .clone()
            .unwrap_or_else(|| format!("{} so far", since(phase.start_time.0, now)));
        [
            phase.name.clone(),
            format!("{:.3}", phase.start_time.0),
            duration,
        ]
    };
    let rows: Vec<_> = vm
        .status
        .iter()
        .flat_map(|status| &status.phases)
        .map(row)
        .collect();
    section(text, "Phases:", ["Name", "Started", "Duration"], &rows);
}

fn last_error(text: &mut String, vm: &LimaVM, now: Timestamp) {
    let Some(status) = &vm.status else { return };
    let Some(error) = &status.last_error else {
        return line(text, "Last error:", "<none>");
    };
    let time = status
        .last_error_time
        .as_ref()
        .map(|time| moment(time.0, now));
    line(text, "Last error:", time.unwrap_or_default());
    for error_line in error.lines() {
        let _ = writeln!(text, "  {}", harmless(error_line));
    }
}

fn happened(text: &mut String, events: &[Event], now: Timestamp) {
    let mut events: Vec<_> = events
        .iter()
        .map(|event| (last_time(event), event))
        .collect();
    events.sort_by_key(|(time, _)| *time);
    let rows: Vec<_> = events[events.len().saturating_sub(SHOWN_EVENTS)..]
        .iter()
        .map(|(time, event)| event_row(event, *time, now))
        .collect();
    section(
        text,
        "Events:",
        ["Type", "Reason", "Age", "From", "Message"],
        &rows,
    );
}

fn event_row(event: &Event, last: Option<Timestamp>, now: Timestamp) -> [String; 5] {
    let mut when = last.map_or_else(|| "<unknown>".to_owned(), |time| since(time, now));
    let count = event.count.unwrap_or(1);
    if count > 1 {
        let first = event.first_timestamp.as_ref();
        let over = first.map_or_else(String::new, |time| format!(" over {}", since(time.0, now)));
        let _ = write!(when, " (x{count}{over})");
    }
    let from = event
        .source
        .as_ref()
        .and_then(|source| source.component.clone())
        .or_else(|| event.reporting_component.clone());
    [
        event.type_.clone().unwrap_or_default(),
        event.reason.clone().unwrap_or_default(),
        when,
        from.unwrap_or_default(),
        in_one_line(event.message.as_deref().unwrap_or_default()),
    ]
}

/// The time of the event's last occurrence.
fn last_time(event: &Event) -> Option<Timestamp> {
    let plain = event
        .last_timestamp
        .as_ref()
        .or(event.first_timestamp.as_ref());
    plain
        .map(|time| time.0)
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
}

fn process(process: Option<&ProcessStatus>, now: Timestamp) -> String {
    let Some(process) = process else {
        return "<none>".to_owned();
    };
    let started = process
        .start_time
        .as_ref()
        .map(|time| format!(", started {}", moment(time.0, now)));
    format!("PID {}{}", process.pid, started.unwrap_or_default())
}

fn moment(time: Timestamp, now: Timestamp) -> String {
    format!("{time:.0} ({} ago)", since(time, now))
}

fn since(time: Timestamp, now: Timestamp) -> String {
    age(now.as_second() - time.as_second())
}

fn line(text: &mut String, key: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key:<VALUE_COLUMN$}{}", harmless(&value.to_string()));
}

fn section<const N: usize>(
    text: &mut String,
    title: &str,
    header: [&str; N],
    rows: &[[String; N]],
) {
    if rows.is_empty() {
        return line(text, title, "<none>");
    }
    let _ = writeln!(text, "{title}");
    let mut all = vec![header.map(|title| "-".repeat(title.len()))];
    all.extend_from_slice(rows);
    for row in output::table(header, &all).lines() {
        let _ = writeln!(text, "  {row}");
    }
}

/// A message as a cell of a table.
fn in_one_line(message: &str) -> String {
    let lines: Vec<_> = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    harmless(&lines.join("; ").replace(":; ", ": "))
}

/// Replaces control characters, because text from a guest's serial line must not control the user's terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_contains_state_phases_and_events() {
        let vm: LimaVM = serde_json::from_value(serde_json::json!({
            "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
            "metadata": { "name": "demo", "namespace": "default", "creationTimestamp": "2026-01-01T10:00:00Z" },
            "spec": { "templateRef": { "name": "debian" }, "running": true, "stop": { "gracePeriod": "5s" } },
            "status": {
                "conditions": [
                    { "type": "Created", "status": "True", "reason": "Created", "message": "the VM's files are there",
                      "lastTransitionTime": "2026-01-01T10:00:02Z" },
                    { "type": "Running", "status": "False", "reason": "StartFailed",
                      "message": "QEMU ended:\n boot failed", "lastTransitionTime": "2026-01-01T10:04:00Z" },
                ],
                "templateConfigMap": "demo-template", "observedTemplateResourceVersion": "17", "restartCount": 3,
                "sshLocalPort": 60022, "hostagent": { "pid": 4711, "startTime": "2026-01-01T10:03:00Z" },
                "phases": [
                    { "name": "preparing", "startTime": "2026-01-01T10:00:00.100000Z", "duration": "1.500s" },
                    { "name": "booting", "startTime": "2026-01-01T10:04:00.000000Z" },
                ],
                "lastError": "QEMU ended\n\u{1b}[31mserial: no root", "lastErrorTime": "2026-01-01T10:04:00Z",
            }
        }))
        .unwrap();
        let event = |reason: &str, last: &str, count: i32| -> Event {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": reason }, "involvedObject": {}, "type": "Normal", "reason": reason,
                "message": "m", "count": count, "source": { "component": "limavm-controller" },
                "firstTimestamp": "2026-01-01T10:00:00Z", "lastTimestamp": last,
            }))
            .unwrap()
        };
        let events = [
            event("Starting", "2026-01-01T10:04:59Z", 3),
            event("Created", "2026-01-01T10:00:02Z", 1),
        ];
        let now: Timestamp = "2026-01-01T10:05:00Z".parse().unwrap();
        let text = story(&vm, &events, Path::new("/h/.rd2/lima/demo"), now);
        let expected = "\
Name:               demo
Namespace:          default
State:              StartFailed
Declared:           running
Created:            2026-01-01T10:00:00Z (5m ago)
Restarts:           2
Template:           ConfigMap demo-template (version 17 in effect)
  Made from:        ConfigMap debian
Grace period:       5s
SSH:                127.0.0.1:60022 (rdd limavm shell demo)
Hostagent:          PID 4711, started 2026-01-01T10:03:00Z (2m ago)
Machine:            <none>
Folder:             /h/.rd2/lima/demo
Conditions:
  Type      Status   Reason        Age   Message
  ----      ------   ------        ---   -------
  Created   True     Created       4m    the VM's files are there
  Running   False    StartFailed   60s   QEMU ended: boot failed
Phases:
  Name        Started                    Duration
  ----        -------                    --------
  preparing   2026-01-01T10:00:00.100Z   1.500s
  booting     2026-01-01T10:04:00.000Z   60s so far
Last error:         2026-01-01T10:04:00Z (60s ago)
  QEMU ended
  \u{fffd}[31mserial: no root
Events:
  Type     Reason     Age               From                Message
  ----     ------     ---               ----                -------
  Normal   Created    4m                limavm-controller   m
  Normal   Starting   1s (x3 over 5m)   limavm-controller   m
";
        assert_eq!(text, expected, "{text}");
    }
}
