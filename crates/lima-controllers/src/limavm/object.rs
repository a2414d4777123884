//! The LimaVM in the API: its newest known version, and all writes to it.

use api::lima::{RESET_REQUESTED, RESTART_REQUESTED, STOP_GRACE_PERIOD};
use api::rdd::CLEANUP_FINALIZER;
use api::{LimaVM, LimaVMSpec, LimaVMStatus};
use controller_kit::call::{CallError, call};
use controller_kit::decoded::Decoded;
use controller_kit::watch::{Key, Objects};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::names::Holder;

/// The object of one actor.
pub(super) struct Object {
    api: Api<Decoded<LimaVM>>,
    cache: Objects<LimaVM>,
    name: String,
    holder: Holder,
    /// The API server's answer to the last write, which the watch may not have reported yet.
    written: Option<Decoded<LimaVM>>,
}

/// A version of the object.
pub(super) struct Version {
    pub(super) vm: LimaVM,
    /// The fields that do not fit their type; the VM has been decoded without them.
    pub(super) problems: Option<String>,
    /// A field of the spec is among them, so it is unknown what the user wants.
    pub(super) spec_is_unknown: bool,
    /// A field of the status is among them.
    pub(super) status_is_unreadable: bool,
}

impl Object {
    pub(super) fn new(
        client: Client,
        cache: Objects<LimaVM>,
        name: String,
        holder: Holder,
    ) -> Object {
        Object {
            api: Api::namespaced(client, &holder.namespace),
            cache,
            name,
            holder,
            written: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn namespace(&self) -> &str {
        &self.holder.namespace
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The newest known version; `None` once the object is gone.
    pub(super) fn newest(&self) -> Option<Version> {
        let newest = self.newest_decoded()?;
        let vm = newest.object().cloned().unwrap_or_else(|| {
            // Enough for a deletion and for the end of the control plane.
            let mut vm = LimaVM::new(&self.name, LimaVMSpec::default());
            vm.metadata = newest.meta().clone();
            vm
        });
        Some(Version {
            vm,
            problems: newest.problem_text(),
            spec_is_unknown: newest.has_problem_in("spec"),
            status_is_unreadable: newest.has_problem_in("status"),
        })
    }

    fn newest_decoded(&self) -> Option<Decoded<LimaVM>> {
        let key = Key::<LimaVM>::new(&self.name).within(&self.holder.namespace);
        let cached = self
            .cache
            .get(&key)
            .filter(|vm| vm.uid().as_deref() == Some(&self.holder.uid))?;
        Some(match &self.written {
            Some(written) if version(written) > version(&cached) => written.clone(),
            _ => (*cached).clone(),
        })
    }

    /// A reference to the object, for its events.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(LimaVM::api_version(&()).into_owned()),
            kind: Some(LimaVM::kind(&()).into_owned()),
            name: Some(self.name.clone()),
            namespace: Some(self.holder.namespace.clone()),
            uid: Some(self.holder.uid.clone()),
            ..Default::default()
        }
    }

    /// Adds the clean-up finalizer; whether it was missing.
    pub(super) async fn add_finalizer(&mut self, vm: &LimaVM) -> Result<bool, CallError> {
        if has_finalizer(vm) {
            return Ok(false);
        }
        let mut finalizers = vm.finalizers().to_vec();
        finalizers.push(CLEANUP_FINALIZER.into());
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        self.patch(vm, "add the finalizer of", patch).await?;
        Ok(true)
    }

    /// Removes the clean-up finalizer, so that the API server removes the object.
    pub(super) async fn remove_finalizer(&mut self, vm: &LimaVM) -> Result<(), CallError> {
        let rest: Vec<_> = vm
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != CLEANUP_FINALIZER)
            .collect();
        let mut patch = json!({ "metadata": { "finalizers": rest } });
        if let Some(spec) = self.readable_spec() {
            // The API server would refuse the write because of the fields that do not fit its schema.
            patch["spec"] = spec;
        }
        self.patch(vm, "remove the finalizer of", patch).await
    }

    /// The change that removes the unreadable fields of the spec; `None` if it has none.
    fn readable_spec(&self) -> Option<Value> {
        let newest = self.newest_decoded()?;
        if !newest.has_problem_in("spec") {
            return None;
        }
        let spec = newest.object().map(|vm| vm.spec.clone());
        let mut spec = serde_json::to_value(spec.unwrap_or_default()).ok()?;
        let fields = spec.as_object_mut()?;
        for problem in newest.problems() {
            let mut path = problem.field.split(['.', '[']);
            if let (Some("spec"), Some(field)) = (path.next(), path.next()) {
                fields.entry(field).or_insert(Value::Null);
            }
        }
        Some(spec)
    }

    /// Removes the annotations whose requests are recorded in the status, and those for a stop that is complete; whether
    /// there were any.
    pub(super) async fn remove_requests(
        &mut self,
        vm: &LimaVM,
        stopped: bool,
    ) -> Result<bool, CallError> {
        let status = vm.status.as_ref();
        let requests = [
            (
                RESTART_REQUESTED,
                status.is_some_and(|status| status.restart_needed),
            ),
            (
                RESET_REQUESTED,
                status.is_some_and(|status| status.reset_needed),
            ),
            (STOP_GRACE_PERIOD, stopped),
        ];
        let removed: Map<String, Value> = requests
            .into_iter()
            .filter(|(annotation, recorded)| {
                *recorded && vm.annotations().contains_key(*annotation)
            })
            .map(|(annotation, _)| (annotation.to_owned(), Value::Null))
            .collect();
        if removed.is_empty() {
            return Ok(false);
        }
        self.remove_annotations(vm, removed).await?;
        process::crash::point("request.after-taken");
        Ok(true)
    }

    /// Removes an annotation.
    pub(super) async fn remove_annotation(
        &mut self,
        vm: &LimaVM,
        annotation: &str,
    ) -> Result<(), CallError> {
        let removed = Map::from_iter([(annotation.to_owned(), Value::Null)]);
        self.remove_annotations(vm, removed).await
    }

    async fn remove_annotations(
        &mut self,
        vm: &LimaVM,
        removed: Map<String, Value>,
    ) -> Result<(), CallError> {
        let patch = json!({ "metadata": { "annotations": removed } });
        self.patch(vm, "remove annotations of", patch).await
    }

    /// Changes exactly this version of the object.
    async fn patch(&mut self, vm: &LimaVM, verb: &str, mut patch: Value) -> Result<(), CallError> {
        patch["metadata"]["resourceVersion"] = json!(vm.metadata.resource_version);
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        let patched = self.api.patch(&self.name, &params, &patch);
        let action = || format!("{verb} LimaVM {}/{}", self.holder.namespace, self.name);
        self.written = Some(call(action, patched).await?);
        Ok(())
    }

    /// Writes the status of exactly this version of the object; returns the object with it.
    pub(super) async fn write_status(
        &mut self,
        vm: &LimaVM,
        status: &LimaVMStatus,
    ) -> Result<LimaVM, CallError> {
        let new = LimaVM {
            status: Some(status.clone()),
            ..vm.clone()
        };
        let params = PostParams::default();
        let new = Decoded::from(new);
        let replaced = self.api.replace_status(&self.name, &params, &new);
        let action = || {
            format!(
                "write the status of LimaVM {}/{}",
                self.holder.namespace, self.name
            )
        };
        let written = call(action, replaced).await?;
        let mut vm = vm.clone();
        vm.status = Some(status.clone());
        let vm = written.object().cloned().unwrap_or(vm);
        self.written = Some(written);
        Ok(vm)
    }
}

/// Resource versions are opaque by contract and increasing numbers in fact. A wrong choice only leads to a conflict.
fn version(vm: &Decoded<LimaVM>) -> Option<u64> {
    vm.meta().resource_version.as_ref()?.parse().ok()
}

/// Whether the object has the clean-up finalizer.
pub(super) fn has_finalizer(vm: &LimaVM) -> bool {
    let mut finalizers = vm.finalizers().iter();
    finalizers.any(|finalizer| finalizer == CLEANUP_FINALIZER)
}
