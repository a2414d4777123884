//! The controller of Notaries: records each value of `spec.value` in a ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::notary::{Notary, NotaryStatus};
use controller_kit::call::{CallError, call, call_opt};
use controller_kit::reconcile::{self, Next, Reconciler, owners};
use controller_kit::recorder::{Severity, reference};
use controller_kit::webhook::{Rule, Stage, Webhook, typed};
use controller_kit::{Context, Controller};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use serde_json::json;

use crate::owned::{Life, life, namespace};

/// The name of the validating webhook.
const WEBHOOK: &str = "notary.rdd.rancherdesktop.io";
/// Longer values are accepted with a warning, in characters.
const LONG: usize = 24;
/// The label `app.kubernetes.io/managed-by` of its ConfigMaps.
const MANAGED_BY: &str = "notary-controller";

/// Keeps the history of each Notary's value.
pub struct NotaryController;

#[async_trait::async_trait]
impl Controller for NotaryController {
    fn name(&self) -> &'static str {
        api::notary::CONTROLLER
    }

    fn group(&self) -> &'static str {
        api::rdd::SHORT_GROUP
    }

    fn crds(&self) -> Vec<CustomResourceDefinition> {
        vec![Notary::crd()]
    }

    fn webhooks(&self, _: &Client) -> Vec<Arc<dyn Webhook>> {
        vec![Arc::new(Validator)]
    }

    async fn run(&self, context: Context) {
        let client = context.client.clone();
        let config = watcher::Config::default()
            .labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        let maps = owners::<ConfigMap, Notary>(Api::all(client.clone()), config);
        reconcile::run(Recording, context, Api::all(client), vec![maps]).await;
    }
}

struct Recording;

#[async_trait::async_trait]
impl Reconciler for Recording {
    type Object = Notary;
    type Error = CallError;

    async fn reconcile(&self, context: &Context, notary: &Notary) -> Result<Next, CallError> {
        let client = &context.client;
        let labels = labels(notary)
            .map(|(key, value)| format!("{key}={value}"))
            .join(",");
        if life(client, notary, &labels).await? == Life::Done {
            return Ok(Next::OnChange);
        }
        let status = notary.status.clone().unwrap_or_default();
        if status.last_recorded_value.as_deref() == Some(&notary.spec.value) {
            return Ok(Next::OnChange);
        }
        record(client, notary, &status).await?;
        let new = NotaryStatus {
            last_recorded_value: Some(notary.spec.value.clone()),
            config_map_status: Some("Updated".to_owned()),
            change_count: status.change_count.saturating_add(1),
        };
        let (name, namespace) = (notary.name_any(), namespace(notary));
        let api: Api<Notary> = Api::namespaced(client.clone(), &namespace);
        let patch = Patch::Merge(json!({ "status": new }));
        let params = PatchParams::default();
        let patched = api.patch_status(&name, &params, &patch);
        call(
            || format!("write the status of Notary {namespace}/{name}"),
            patched,
        )
        .await?;
        let old = status.last_recorded_value.unwrap_or_default();
        let message = format!(
            "Value change recorded in ConfigMap: {old} -> {}",
            notary.spec.value
        );
        context.recorder.record(
            reference(notary),
            Severity::Normal,
            "ValueRecorded",
            &message,
        );
        Ok(Next::OnChange)
    }
}

fn labels(notary: &Notary) -> [(&'static str, String); 2] {
    [
        ("app.kubernetes.io/managed-by", MANAGED_BY.to_owned()),
        ("app.kubernetes.io/instance", notary.name_any()),
    ]
}

/// Adds the value to the ConfigMap. Recording the same change again, after a crash before the status was written, replaces
/// its entry.
async fn record(client: &Client, notary: &Notary, status: &NotaryStatus) -> Result<(), CallError> {
    let (name, namespace) = (&notary.spec.config_map_name, namespace(notary));
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let count = status.change_count;
    let entry = format!("timestamp={},value={}", now(), notary.spec.value);
    let data = BTreeMap::from([
        (format!("change_{count:03}"), entry.clone()),
        ("latest_change".to_owned(), entry),
        ("change_count".to_owned(), count.to_string()),
    ]);
    let read = || format!("read ConfigMap {namespace}/{name}");
    if call_opt(read, api.get_metadata(name)).await?.is_some() {
        let patch = Patch::Merge(json!({ "data": data }));
        let params = PatchParams::default();
        let patched = api.patch(name, &params, &patch);
        let action = || format!("record the value in ConfigMap {namespace}/{name}");
        return call(action, patched).await.map(drop);
    }
    let new = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(
                labels(notary)
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
            ),
            owner_references: notary.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let params = PostParams::default();
    let created = api.create(&params, &new);
    call(|| format!("create ConfigMap {namespace}/{name}"), created)
        .await
        .map(drop)
}

/// The time in whole seconds, as RFC 3339.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Refuses values that start with "invalid".
struct Validator;

#[async_trait::async_trait]
impl Webhook for Validator {
    fn name(&self) -> &'static str {
        WEBHOOK
    }

    fn stage(&self) -> Stage {
        Stage::Validating
    }

    fn rule(&self) -> Rule {
        Rule {
            group: api::rdd::GROUP,
            resource: "notaries",
            operations: vec![Operation::Create, Operation::Update],
            label: None,
        }
    }

    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let notary: AdmissionRequest<Notary> = match typed(&request) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        let mut response = AdmissionResponse::from(&request);
        let Some(notary) = notary.object else {
            return response;
        };
        // A Notary that is being deleted must still lose its finalizer.
        if notary.metadata.deletion_timestamp.is_some() {
            return response;
        }
        let value = &notary.spec.value;
        if value.to_lowercase().starts_with("invalid") {
            return response.deny("spec.value cannot start with 'invalid' (case-insensitive)");
        }
        let length = value.chars().count();
        if length > LONG {
            response.warnings = Some(vec![format!(
                "spec.value has {length} characters, more than {LONG}"
            )]);
        }
        response
    }
}
