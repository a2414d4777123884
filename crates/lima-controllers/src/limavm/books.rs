//! Keeping the object in order before anything is done with the VM: finalizer, copy of the template, requests.

use api::lima::{RESET_REQUESTED, RESTART_REQUESTED, STOP_GRACE_PERIOD, TEMPLATE_COPY};
use api::rdd::CLEANUP_FINALIZER;
use api::{LimaVM, LimaVMStatus};
use controller_kit::watch::Key;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use super::actor::Actor;
use super::files::{Resolved, digest, resolve};
use super::template_copy::{self, CopyError};
use crate::template;
use controller_kit::call::{CallError, call};

impl Actor {
    /// Returns the object when it is in order, `None` after changing it. `passive`: only look, as the VM is going.
    pub(super) async fn keep_books(
        &mut self,
        vm: LimaVM,
        passive: bool,
    ) -> Result<Option<LimaVM>, CallError> {
        self.blocked = self.why_blocked(&vm);
        if passive || self.blocked.is_some() {
            return Ok(Some(vm));
        }
        if !vm
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == CLEANUP_FINALIZER)
        {
            let mut finalizers = vm.finalizers().to_vec();
            finalizers.push(CLEANUP_FINALIZER.into());
            self.patch(
                &vm,
                "add the finalizer of",
                json!({ "finalizers": finalizers }),
            )
            .await?;
            return Ok(None);
        }
        self.take_template(&vm).await?;
        let copied = vm
            .status
            .as_ref()
            .is_some_and(|status| status.template_config_map.is_some());
        if copied && vm.annotations().contains_key(TEMPLATE_COPY) {
            self.patch(
                &vm,
                "tidy up",
                json!({ "annotations": { TEMPLATE_COPY: null } }),
            )
            .await?;
            process::crash::point("create.after-tidy");
            return Ok(None);
        }
        Ok(Some(vm))
    }

    /// Why this VM may not have the folder of its name.
    fn why_blocked(&self, vm: &LimaVM) -> Option<String> {
        if let Err(other) = self.shared.names.claim(&self.name, &self.holder) {
            return Some(format!(
                "the LimaVM name {:?} is already used in namespace {:?}: names of LimaVMs are unique across all \
                 namespaces; delete one of the two",
                self.name, other.namespace
            ));
        }
        if vm
            .status
            .as_ref()
            .is_some_and(|status| status.template_config_map.is_some())
        {
            return None;
        }
        if let Err(error) = lima::layout::validate_name(&self.name) {
            return Some(error.to_string());
        }
        if let Err(error) = self.shared.config.lima_home.check_socket_paths(&self.name) {
            return Some(error.to_string());
        }
        let folder = self.place.dir.path();
        // What a VM of this name has left must not be taken for this one's, and its disk may be dear to somebody.
        folder.exists().then(|| {
            format!(
                "the folder {} exists already and is no LimaVM's: move it away, or delete it",
                folder.display()
            )
        })
    }

    /// Takes in the VM's own copy of its template, made now if it is not there.
    async fn take_template(&mut self, vm: &LimaVM) -> Result<(), CallError> {
        let key = Key::<ConfigMap>::new(&api::lima::template_config_map_name(&self.name))
            .within(&self.namespace);
        let cached = self
            .shared
            .config_maps
            .get(&key)
            .and_then(|copy| copy.object().cloned());
        let version = |copy: &ConfigMap| {
            copy.resource_version()
                .and_then(|version| version.parse::<u64>().ok())
        };
        let known = match (cached, self.copy.take()) {
            (Some(cached), Some(own)) => Some(if version(&own) > version(&cached) {
                own
            } else {
                cached
            }),
            (cached, None) => cached,
            // The watch has not seen it yet, or it is gone: ask.
            (None, Some(_)) => None,
        };
        match template_copy::ensure(&self.shared.client, vm, &self.namespace, known).await {
            Ok(copy) => {
                self.copy_failure = None;
                self.resolve_template(vm, &copy);
                self.copy = Some(copy);
                Ok(())
            }
            Err(CopyError::Call(error)) if error.is_conflict() || !error.is_refusal() => Err(error),
            Err(error) => {
                // A VM that exists goes on with what is on its disk.
                self.copy_failure = Some(error.to_string());
                Ok(())
            }
        }
    }

    fn resolve_template(&mut self, vm: &LimaVM, copy: &ConfigMap) {
        let params = &vm.spec.params;
        let resolved = match template::text(copy) {
            Ok(text) => {
                if self
                    .resolved
                    .as_ref()
                    .is_some_and(|resolved| resolved.digest == digest(text, params))
                {
                    return;
                }
                resolve(text, params, &self.shared.host, &self.place.dir)
            }
            Err(problem) => Resolved {
                digest: String::new(),
                template: Err(problem.to_string()),
            },
        };
        self.resolved = Some(resolved);
    }

    /// Removes the annotations whose requests are in the status by now, and those for a stop that has ended; true when
    /// there were any.
    pub(super) async fn take_requests(
        &mut self,
        vm: &LimaVM,
        stopped: bool,
    ) -> Result<bool, CallError> {
        let status = vm.status.clone().unwrap_or_default();
        let requests = [
            (RESTART_REQUESTED, status.restart_needed),
            (RESET_REQUESTED, status.reset_needed),
            (STOP_GRACE_PERIOD, stopped),
        ];
        let taken: Map<String, Value> = requests
            .into_iter()
            .filter(|(annotation, noted)| *noted && vm.annotations().contains_key(*annotation))
            .map(|(annotation, _)| (annotation.to_owned(), Value::Null))
            .collect();
        if taken.is_empty() {
            return Ok(false);
        }
        self.patch(vm, "take the request from", json!({ "annotations": taken }))
            .await?;
        process::crash::point("request.after-taken");
        Ok(true)
    }

    pub(super) async fn remove_finalizer(&mut self, vm: &LimaVM) -> Result<(), CallError> {
        let rest: Vec<_> = vm
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != CLEANUP_FINALIZER)
            .collect();
        self.patch(vm, "remove the finalizer of", json!({ "finalizers": rest }))
            .await
    }

    /// Changes the metadata of exactly this version of the object.
    async fn patch(
        &mut self,
        vm: &LimaVM,
        what: &str,
        mut metadata: Value,
    ) -> Result<(), CallError> {
        metadata["resourceVersion"] = json!(vm.metadata.resource_version);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams::default();
        let patched = self.api.patch(&self.name, &params, &patch);
        let action = || format!("{what} LimaVM {}/{}", self.namespace, self.name);
        self.written = Some(call(action, patched).await?);
        Ok(())
    }

    /// Writes the status of exactly this version of the object.
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
        let replaced = self.api.replace_status(&self.name, &params, &new);
        let action = || {
            format!(
                "write the status of LimaVM {}/{}",
                self.namespace, self.name
            )
        };
        let written = call(action, replaced).await?;
        self.written = Some(written.clone());
        Ok(written)
    }
}
