//! Group `lima.rancherdesktop.io`: a virtual machine made from a Lima template.

// KubeSchema copies each struct into a scope of its own, where `pub` leads nowhere.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The API group.
pub const GROUP: &str = "lima.rancherdesktop.io";
/// The short name of the group in `--controllers`.
pub const SHORT_GROUP: &str = "lima";
/// The name of the LimaVM controller in `--controllers` and in discovery.
pub const CONTROLLER: &str = "limavm";

/// Finalizer of a VM's template ConfigMap: it is deleted with its VM, not before.
pub const OWNED_FINALIZER: &str = "rdd.rancherdesktop.io/owned-by-LimaVM";
/// Label of template ConfigMaps; its value is [`TEMPLATE_LABEL_VALUE`].
pub const TEMPLATE_LABEL: &str = "lima.rancherdesktop.io/template-configmap";
/// The only value of [`TEMPLATE_LABEL`] that has an effect.
pub const TEMPLATE_LABEL_VALUE: &str = "true";
/// The key of the template in a ConfigMap's `data`.
pub const TEMPLATE_KEY: &str = "template";
/// A VM's own copy of its template is a ConfigMap called after the VM, with this at the end.
pub const TEMPLATE_SUFFIX: &str = "-template";

/// Annotation, any value: restart the VM once.
pub const RESTART_REQUESTED: &str = "lima.rancherdesktop.io/restartRequested";
/// Annotation, any value: create the VM again from its template; its disk is lost.
pub const RESET_REQUESTED: &str = "lima.rancherdesktop.io/resetRequested";
/// Annotation: the template, from the admission of a new VM until the controller has created the ConfigMap from it. The copy
/// is part of the VM itself, so a VM that is refused leaves none behind, and deleting the original right after the creation
/// does no harm.
pub const TEMPLATE_COPY: &str = "lima.rancherdesktop.io/template";
/// Annotation, a duration such as `5s`; `0s` means at once. Overrides `spec.stop.gracePeriod` for the stop in progress, or
/// for the next one. The controller removes it once the VM has stopped. Admission refuses a value that
/// [`parse_grace_period`] cannot parse.
pub const STOP_GRACE_PERIOD: &str = "lima.rancherdesktop.io/stopGracePeriod";
/// Annotation, value `true`: the VM takes over the folder of its name, which belongs to no other VM. The controller removes
/// it once it has.
pub const ADOPT: &str = "lima.rancherdesktop.io/adopt";
/// Annotation, value `true`: give up a VM that is being deleted even though it cannot be cleaned up.
pub const FORCE_DELETE: &str = "lima.rancherdesktop.io/force-delete";

/// Types of [`LimaVMStatus::conditions`].
pub mod condition {
    /// Whether the VM's files are on disk.
    pub const CREATED: &str = "Created";
    /// Whether the user can log in. False means that nothing runs, or that the VM is starting. A VM that is stopping is
    /// Unknown with reason [`super::reason::STOPPING`], so that a client that waits for False after a stop waits until the
    /// VM has stopped.
    pub const RUNNING: &str = "Running";
    /// That a running VM does not work as it should; the message says why. Present only while that is so.
    pub const DEGRADED: &str = "Degraded";
    /// Why a deletion is not complete. Present only while the VM is being deleted.
    pub const DELETING: &str = "Deleting";
}

/// Reasons of the conditions.
pub mod reason {
    /// `Created` Unknown: the files are being created; the message shows the progress.
    pub const PENDING: &str = "Pending";
    /// `Created` True.
    pub const CREATED: &str = "Created";
    /// `Created` False: the message has the cause; it is retried.
    pub const CREATE_FAILED: &str = "CreateFailed";
    /// `Running` False: the VM is starting.
    pub const STARTING: &str = "Starting";
    /// `Running` True.
    pub const STARTED: &str = "Started";
    /// `Running` Unknown: the VM is being stopped, and the user may or may not be able to log in. [`STOPPED`] or
    /// [`STOP_FAILED`] follows.
    pub const STOPPING: &str = "Stopping";
    /// `Running` False: nothing runs.
    pub const STOPPED: &str = "Stopped";
    /// `Running` False: the VM ended by itself, or did not start; it is retried.
    pub const START_FAILED: &str = "StartFailed";
    /// `Running` False: the VM could not be stopped; it is retried.
    pub const STOP_FAILED: &str = "StopFailed";
    /// `Running` Unknown: the controller has restarted and has not looked yet.
    pub const RECONCILING: &str = "Reconciling";
    /// `Degraded` True.
    pub const DEGRADED: &str = "Degraded";
    /// `Deleting` True: the VM is being stopped and its files removed.
    pub const CLEANING_UP: &str = "CleaningUp";
    /// `Deleting` True: that failed; it is retried.
    pub const DELETE_FAILED: &str = "DeleteFailed";
}

/// Names of [`PhaseStatus`], in their order. A phase that did not happen is left out.
pub mod phase {
    /// The VM's files are created: image, disk.
    pub const CREATING: &str = "creating";
    /// The hostagent prepares what the machine needs.
    pub const PREPARING: &str = "preparing";
    /// The machine's process starts.
    pub const STARTING: &str = "starting";
    /// Firmware and kernel, until the guest agent answers.
    pub const BOOTING: &str = "booting";
    /// Until sshd listens.
    pub const SERVICES: &str = "services";
    /// Until the first login works.
    pub const LOGIN: &str = "login";
    /// A new hostagent adopts a running machine.
    pub const ADOPTING: &str = "adopting";
    /// From the request to stop to the end of the machine.
    pub const STOPPING: &str = "stopping";
}

/// The largest number of entries of `status.phases`: one of each name.
pub const MAX_PHASES: usize = 8;
/// The largest size of `status.lastError`, in bytes: some lines of a log, not all of it.
pub const MAX_LAST_ERROR: usize = 4096;

/// The longest grace period of a stop: a day.
pub const MAX_GRACE_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// What a VM should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "lima.rancherdesktop.io",
    version = "v1alpha1",
    kind = "LimaVM",
    plural = "limavms",
    singular = "limavm",
    namespaced,
    status = "LimaVMStatus",
    category = "all",
    derive = "PartialEq",
    doc = "A virtual machine that is kept in the declared state.",
    printcolumn(name = "Running", type_ = "boolean", json_path = ".spec.running")
)]
#[serde(rename_all = "camelCase")]
pub struct LimaVMSpec {
    /// The ConfigMap with the Lima template that the VM is made from. It is copied when the VM is created, so it may
    /// be deleted afterwards. Immutable: change the copy, the ConfigMap NAME-template, to change the VM.
    #[x_kube(validation = Rule::new("self == oldSelf").message("templateRef is immutable"))]
    pub template_ref: TemplateRef,
    /// Whether the VM should run.
    #[serde(default)]
    pub running: bool,
    /// Values for the template's `param` settings; they win over the template's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// How the VM is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopSpec>,
}

/// Names the ConfigMap that a VM's template comes from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// The ConfigMap's name. It must have a "template" key.
    pub name: String,
    /// The ConfigMap's namespace; the VM's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// How a VM is stopped.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StopSpec {
    /// How long the guest may take to shut down before its machine is switched off, such as 30s or 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub grace_period: Option<String>,
}

/// What a VM is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LimaVMStatus {
    /// The state of the VM: Created (its files are on disk), Running (its user can log in), Degraded while a running VM
    /// does not work as it should, and Deleting while it is being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The ConfigMap with the VM's own copy of its template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_config_map: Option<String>,
    /// The resourceVersion of that ConfigMap which is in effect: on disk, and in the VM if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_template_resource_version: Option<String>,
    /// The VM must be stopped and started, because a restart was requested or because its template has changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub restart_needed: bool,
    /// How often the VM has reached Running.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restart_count: i32,
    /// When the current run of the VM first reached Running. Absent before that, and once the run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_since: Option<Time>,
    /// The VM must be created again from its template, because a reset was requested.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reset_needed: bool,
    /// The hostagent, the process that supervises the VM, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostagent: Option<ProcessStatus>,
    /// The process of the VM's machine, such as QEMU, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<ProcessStatus>,
    /// The port of 127.0.0.1 that leads to the guest's sshd, while the VM has a hostagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_local_port: Option<u16>,
    /// How the last start and the last stop went, oldest first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseStatus>,
    /// The last failure, with the last lines of the programs concerned. It stays until the next failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the last failure happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_time: Option<Time>,
}

/// A process of a VM, for people: the number alone is no identity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProcessStatus {
    /// Its PID on this host.
    pub pid: i64,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
}

/// A phase of a start or a stop.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PhaseStatus {
    /// creating, preparing, starting, booting, services, login, adopting or stopping.
    pub name: String,
    /// When it began.
    pub start_time: MicroTime,
    /// How long it took, such as 5.204s or 1h2m3.004s; absent until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

/// The name of the ConfigMap with a VM's own copy of its template.
pub fn template_config_map_name(vm: &str) -> String {
    format!("{vm}{TEMPLATE_SUFFIX}")
}

impl LimaVM {
    /// The namespace that `spec.templateRef` points into, for a VM in `namespace`.
    pub fn template_namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        match self.spec.template_ref.namespace.as_deref() {
            Some(named) if !named.is_empty() => named,
            _ => namespace,
        }
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status
            .as_ref()?
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
    }

    /// `spec.stop.gracePeriod`; `None` when it is absent or invalid (admission refuses such a value).
    pub fn grace_period(&self) -> Option<Duration> {
        parse_grace_period(self.spec.stop.as_ref()?.grace_period.as_ref()?)
    }

    /// The annotation [`STOP_GRACE_PERIOD`]; `None` when it is absent or invalid (admission refuses such a value).
    pub fn stop_grace_period(&self) -> Option<Duration> {
        let annotations = self.metadata.annotations.as_ref()?;
        parse_grace_period(annotations.get(STOP_GRACE_PERIOD)?)
    }
}

/// Parses a grace period such as `30s`, `1m30s`, `500ms` or `0s`; `None` for any other text, and for more than
/// [`MAX_GRACE_PERIOD`].
pub fn parse_grace_period(text: &str) -> Option<Duration> {
    // Only what the schema of `spec.stop.gracePeriod` allows; jiff also reads other forms.
    let allowed = |letter: char| letter.is_ascii_digit() || ".smh".contains(letter);
    if !text.chars().all(allowed) {
        return None;
    }
    let parsed: jiff::SignedDuration = text.parse().ok()?;
    let parsed = Duration::try_from(parsed).ok()?;
    (parsed <= MAX_GRACE_PERIOD).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h52_grace_period_is_at_most_a_day_and_no_text_panics() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1500),
            ("1m30s", 90_000),
            ("24h", 86_400_000),
        ] {
            let expected = Some(Duration::from_millis(millis));
            assert_eq!(parse_grace_period(text), expected, "{text}");
        }
        let huge = format!("{}s", "9".repeat(400));
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "+1s",
            "1 s",
            "PT1S",
            "1d",
            "1e9s",
            "24h1s",
            "25h",
            "ms",
            "100000000000000000000000s",
            "99999999999h",
            &huge,
            "..s",
            "1..5s",
            "\u{661}s",
        ] {
            assert_eq!(parse_grace_period(text), None, "{text}");
        }
    }
}
