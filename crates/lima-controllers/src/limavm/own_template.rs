//! The VM's own copy of its template, as it is used: the ConfigMap, and the template with its defaults filled in.

use std::sync::Arc;

use api::LimaVM;
use controller_kit::call::CallError;
use controller_kit::watch::{Key, Objects};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, ResourceExt};
use lima::layout::InstanceDir;
use lima::template::{Host, Template};

use super::files::{Resolved, digest, resolve};
use super::template_copy::{self, CopyError};
use crate::template;

/// What an actor knows of its VM's template.
#[derive(Default)]
pub(super) struct OwnTemplate {
    copy: Option<ConfigMap>,
    resolved: Option<Resolved>,
    /// Why there is no copy.
    failure: Option<String>,
}

impl OwnTemplate {
    /// Reads the copy, and creates it if there is none.
    pub(super) async fn refresh(
        &mut self,
        client: &Client,
        cache: &Objects<ConfigMap>,
        vm: &LimaVM,
        namespace: &str,
        host: &Result<Host, String>,
        dir: &InstanceDir,
    ) -> Result<(), CallError> {
        let name = api::lima::template_config_map_name(&vm.name_any());
        let key = Key::<ConfigMap>::new(&name).within(namespace);
        let cached = cache.get(&key).and_then(|copy| copy.object().cloned());
        let known = newest(cached, self.copy.take());
        match template_copy::ensure(client, vm, namespace, known).await {
            Ok(copy) => {
                self.failure = None;
                self.resolve(vm, &copy, host, dir);
                self.copy = Some(copy);
                Ok(())
            }
            Err(CopyError::Call(error)) if error.is_conflict() || !error.is_refusal() => Err(error),
            Err(error) => {
                // A VM that exists goes on with the template on its disk.
                self.failure = Some(error.to_string());
                Ok(())
            }
        }
    }

    fn resolve(
        &mut self,
        vm: &LimaVM,
        copy: &ConfigMap,
        host: &Result<Host, String>,
        dir: &InstanceDir,
    ) {
        let params = &vm.spec.params;
        let resolved = match template::text(copy) {
            Ok(text) => {
                if self.digest() == Some(&digest(text, params)) {
                    return;
                }
                resolve(text, params, host, dir)
            }
            Err(problem) => Resolved {
                digest: String::new(),
                template: Err(problem.to_string()),
            },
        };
        self.resolved = Some(resolved);
    }

    /// The name of the copy, once it exists.
    pub(super) fn config_map(&self) -> Option<String> {
        self.copy.as_ref().map(ResourceExt::name_any)
    }

    /// The version of the copy that [`OwnTemplate::resolved`] was read from.
    pub(super) fn resource_version(&self) -> Option<String> {
        self.copy.as_ref().and_then(ResourceExt::resource_version)
    }

    /// The template, or why it cannot be used; `None` until it was read.
    pub(super) fn resolved(&self) -> Option<&Resolved> {
        self.resolved.as_ref()
    }

    /// The text of the template, as the user wrote it.
    pub(super) fn text(&self) -> Option<&str> {
        template::text(self.copy.as_ref()?).ok()
    }

    /// The digest of template and parameters.
    pub(super) fn digest(&self) -> Option<&String> {
        self.resolved.as_ref().map(|resolved| &resolved.digest)
    }

    /// The template with its digest, if it can be used.
    pub(super) fn usable(&self) -> Option<(Arc<Template>, String)> {
        let resolved = self.resolved.as_ref()?;
        let template = resolved.template.as_ref().ok()?;
        Some((Arc::clone(template), resolved.digest.clone()))
    }

    /// Why there is no copy.
    pub(super) fn copy_failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    /// Why there is no copy, or why its template cannot be used.
    pub(super) fn problem(&self) -> Option<String> {
        let unusable = || self.resolved.as_ref()?.template.clone().err();
        self.failure.clone().or_else(unusable)
    }
}

/// The newer of the copy in the cache and the one that this actor has read or written; `None`: it must be read.
fn newest(cached: Option<ConfigMap>, own: Option<ConfigMap>) -> Option<ConfigMap> {
    let version = |copy: &ConfigMap| {
        copy.resource_version()
            .and_then(|version| version.parse::<u64>().ok())
    };
    match (cached, own) {
        (Some(cached), Some(own)) if version(&own) > version(&cached) => Some(own),
        // Without a cached copy, the watch has not reported it yet, or it is gone.
        (cached, _) => cached,
    }
}
