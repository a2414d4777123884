//! The rules for LimaVMs.

use std::time::Instant;

use api::LimaVM;
use api::lima::{STOP_GRACE_PERIOD, TEMPLATE_COPY, parse_grace_period, template_config_map_name};
use api::rdd::CLEANUP_FINALIZER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::core::admission::AdmissionRequest;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Admission, Changes, Refusal, template};
use crate::template::text;
use controller_kit::call::{CallError, call, call_opt};

/// The largest template that is copied into an annotation, in bytes. Kubernetes allows an object 256 KiB of annotations;
/// the rest is left to other programs.
const MAX_COPY: usize = 192 << 10;

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Refusal(error.to_string())
    }
}

impl Admission {
    pub(super) async fn new_limavm(
        &self,
        request: &AdmissionRequest<LimaVM>,
        vm: &LimaVM,
    ) -> Result<Changes, Refusal> {
        let namespace = request
            .namespace
            .clone()
            .or_else(|| vm.namespace())
            .unwrap_or_else(|| "default".into());
        // An object with generateName has no name yet; then the controller checks it.
        let name = Some(&request.name)
            .filter(|name| !name.is_empty())
            .cloned()
            .or_else(|| vm.metadata.name.clone());
        if let Some(name) = &name {
            self.check_name(name, &namespace).await?;
        }
        check_annotation(vm)?;
        check_spec(vm)?;
        let mut changes = Changes::default();
        let text = self.template_text(vm, &namespace).await?;
        let checked = template::check(
            &text,
            &self.host,
            &self.lima_home,
            name.as_deref(),
            Some(&vm.spec.params),
        );
        changes.warnings.extend(checked.map_err(Refusal)?);
        if let (Some(name), false) = (&name, request.dry_run) {
            self.reservations
                .reserve(name, &namespace, Instant::now())
                .map_err(|holder| name_in_use(name, &holder))?;
        }
        add_finalizer(vm, &mut changes);
        add_copy(vm, &text, &mut changes);
        Ok(changes)
    }

    async fn check_name(&self, name: &str, namespace: &str) -> Result<(), Refusal> {
        lima::layout::validate_name(name).map_err(|error| Refusal(error.to_string()))?;
        self.lima_home
            .check_socket_paths(name)
            .map_err(|error| Refusal(error.to_string()))?;
        let all: Api<LimaVM> = Api::all(self.client.clone());
        let same_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = call(
            || format!("look for other LimaVMs called {name:?}"),
            all.list(&same_name),
        )
        .await?;
        // The API server itself refuses a second VM of the same namespace, with AlreadyExists.
        let other = found
            .items
            .iter()
            .find_map(|vm| vm.namespace().filter(|other| other != namespace));
        if let Some(other) = other {
            return Err(name_in_use(name, &other));
        }
        if !found.items.is_empty() {
            return Ok(());
        }
        let copy = template_config_map_name(name);
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        match call_opt(
            || format!("look for ConfigMap {namespace}/{copy}"),
            api.get(&copy),
        )
        .await?
        {
            Some(_) => Err(Refusal(format!(
                "the ConfigMap {namespace}/{copy} already exists, and this VM's own copy of its template needs that \
                 name: delete or rename it, or choose another name for the VM"
            ))),
            None => Ok(()),
        }
    }

    async fn template_text(&self, vm: &LimaVM, namespace: &str) -> Result<String, Refusal> {
        let name = &vm.spec.template_ref.name;
        let namespace = vm.template_namespace(namespace);
        if name.is_empty() {
            return Err(Refusal(
                "spec.templateRef.name is empty: name the ConfigMap with the template".into(),
            ));
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = call_opt(
            || format!("read the template ConfigMap {namespace}/{name}"),
            api.get(name),
        )
        .await?;
        let found = found.ok_or_else(|| {
            Refusal(format!(
                "the template ConfigMap {namespace}/{name} (spec.templateRef) does not exist"
            ))
        })?;
        text(&found)
            .map(str::to_owned)
            .map_err(|problem| Refusal(problem.to_string()))
    }

    pub(super) async fn changed_limavm(
        &self,
        request: &AdmissionRequest<LimaVM>,
        old: &LimaVM,
        new: &LimaVM,
    ) -> Result<Changes, Refusal> {
        // An unchanged value is not checked again, so that the user can change other fields of an object that was written
        // without this webhook.
        if old.annotations().get(STOP_GRACE_PERIOD) != new.annotations().get(STOP_GRACE_PERIOD) {
            check_annotation(new)?;
        }
        if old.spec.stop != new.spec.stop {
            check_spec(new)?;
        }
        if old.spec.params == new.spec.params || new.metadata.deletion_timestamp.is_some() {
            return Ok(Changes::default());
        }
        let name = new.name_any();
        let namespace = request
            .namespace
            .clone()
            .or_else(|| new.namespace())
            .unwrap_or_else(|| "default".into());
        let copy = template_config_map_name(&name);
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let found = call_opt(
            || format!("read ConfigMap {namespace}/{copy}"),
            api.get(&copy),
        )
        .await?;
        // Without a readable copy there is nothing to compare with.
        let Some(template) = found.as_ref().and_then(|found| text(found).ok()) else {
            return Ok(Changes::default());
        };
        let checked = template::check(
            template,
            &self.host,
            &self.lima_home,
            Some(&name),
            Some(&new.spec.params),
        );
        Ok(Changes {
            warnings: checked.map_err(Refusal)?,
            ..Default::default()
        })
    }
}

fn check_annotation(vm: &LimaVM) -> Result<(), Refusal> {
    let value = vm.annotations().get(STOP_GRACE_PERIOD);
    check_grace_period(&format!("the annotation {STOP_GRACE_PERIOD}"), value)
}

/// The schema allows numbers that are too large.
fn check_spec(vm: &LimaVM) -> Result<(), Refusal> {
    let stop = vm.spec.stop.as_ref();
    let value = stop.and_then(|stop| stop.grace_period.as_ref());
    check_grace_period("spec.stop.gracePeriod", value)
}

fn check_grace_period(field: &str, value: Option<&String>) -> Result<(), Refusal> {
    match value {
        Some(value) if parse_grace_period(value).is_none() => Err(Refusal(format!(
            "{field} is {value:?}, which is no duration of at most 24h: write it as 30s, 1m30s, 500ms, or 0s for at once"
        ))),
        _ => Ok(()),
    }
}

fn name_in_use(name: &str, holder: &str) -> Refusal {
    Refusal(format!(
        "the LimaVM name {name:?} is already used in namespace {holder:?}: names of LimaVMs are unique across all \
         namespaces"
    ))
}

fn add_finalizer(vm: &LimaVM, changes: &mut Changes) {
    if vm
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == CLEANUP_FINALIZER)
    {
        return;
    }
    let operation = match &vm.metadata.finalizers {
        Some(_) => {
            json!({ "op": "add", "path": "/metadata/finalizers/-", "value": CLEANUP_FINALIZER })
        }
        None => {
            json!({ "op": "add", "path": "/metadata/finalizers", "value": [CLEANUP_FINALIZER] })
        }
    };
    changes.operations.push(operation);
}

fn add_copy(vm: &LimaVM, text: &str, changes: &mut Changes) {
    if text.len() > MAX_COPY {
        changes.warnings.push(format!(
            "the template has {} bytes, more than the {MAX_COPY} that can be copied at once: keep its ConfigMap until \
             the VM is Created",
            text.len()
        ));
        return;
    }
    // A JSON pointer writes "/" as "~1" (RFC 6901).
    let path = format!("/metadata/annotations/{}", TEMPLATE_COPY.replace('/', "~1"));
    changes.operations.push(match &vm.metadata.annotations {
        Some(_) => json!({ "op": "add", "path": path, "value": text }),
        None => json!({ "op": "add", "path": "/metadata/annotations", "value": { TEMPLATE_COPY: text } }),
    });
}
