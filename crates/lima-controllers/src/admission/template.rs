//! The rules for templates and for the ConfigMaps that contain them.

use std::collections::BTreeMap;

use api::LimaVM;
use api::lima::{OWNED_FINALIZER, TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use lima::layout::{InstanceDir, LimaHome};
use lima::template::{Host, Template};

use super::{Admission, Changes, Refusal};
use crate::template::text;
use controller_kit::call::call_opt;

/// Checks a template; with its defaults filled in if the VM's parameters are known. Returns warnings.
pub(super) fn check(
    text: &str,
    host: &Result<Host, String>,
    lima_home: &LimaHome,
    name: Option<&str>,
    params: Option<&BTreeMap<String, String>>,
) -> Result<Vec<String>, String> {
    let parsed = Template::parse(text).map_err(|error| error.to_string())?;
    parsed
        .template
        .validate()
        .map_err(|error| error.to_string())?;
    let mut warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    if let Some(params) = params {
        // `check_name` checks the name. Here it only serves the values that templates can refer to.
        let name = name.unwrap_or("default");
        let dir = InstanceDir::at(lima_home.root.join(name), name);
        let host = host.as_ref().map_err(Clone::clone)?;
        let mut template = parsed.template;
        let more = template
            .fill_defaults(host, &dir, params)
            .map_err(|error| error.to_string())?;
        lima::instance::check_change(&dir, &template).map_err(|error| error.to_string())?;
        warnings.extend(more.iter().map(ToString::to_string));
    }
    Ok(warnings)
}

fn is_labelled(config_map: &ConfigMap) -> bool {
    config_map
        .labels()
        .get(TEMPLATE_LABEL)
        .is_some_and(|value| value == TEMPLATE_LABEL_VALUE)
}

fn is_owned(config_map: &ConfigMap) -> bool {
    config_map
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == OWNED_FINALIZER)
}

impl Admission {
    pub(super) async fn written_config_map(
        &self,
        old: Option<&ConfigMap>,
        new: &ConfigMap,
    ) -> Result<Changes, Refusal> {
        // Without the label this webhook would not be called any more, and the finalizer would be unexplained.
        if !is_labelled(new) {
            return match old {
                Some(old) if is_labelled(old) && is_owned(old) => Err(Refusal(format!(
                    "cannot remove {TEMPLATE_LABEL} label: resource is owned"
                ))),
                _ => Ok(Changes::default()),
            };
        }
        // Unchanged data is not checked again, because a later, stricter rdd must still be able to remove the finalizer.
        if old.is_some_and(|old| is_labelled(old) && old.data == new.data) {
            return Ok(Changes::default());
        }
        let text = text(new).map_err(|problem| Refusal(problem.to_string()))?;
        let vm = self.owner(new).await?;
        let (name, params) = vm.as_ref().map_or((None, None), |vm| {
            (vm.metadata.name.as_deref(), Some(&vm.spec.params))
        });
        let warnings = check(text, &self.host, &self.lima_home, name, params).map_err(Refusal)?;
        Ok(Changes {
            warnings,
            ..Default::default()
        })
    }

    pub(super) async fn deleted_config_map(&self, old: &ConfigMap) -> Result<Changes, Refusal> {
        if !is_owned(old) || !is_labelled(old) {
            return Ok(Changes::default());
        }
        match self.owner(old).await? {
            Some(vm) if vm.metadata.deletion_timestamp.is_none() => Err(Refusal(format!(
                "ConfigMap {:?} is owned by LimaVM {:?}: delete the LimaVM resource instead",
                old.name_any(),
                vm.name_any()
            ))),
            _ => Ok(Changes::default()),
        }
    }

    /// The VM that owns this ConfigMap, if it exists.
    async fn owner(&self, config_map: &ConfigMap) -> Result<Option<LimaVM>, Refusal> {
        let owners = config_map
            .metadata
            .owner_references
            .as_deref()
            .unwrap_or_default();
        let Some(owner) = owners
            .iter()
            .find(|owner| owner.controller == Some(true) && owner.kind == "LimaVM")
        else {
            return Ok(None);
        };
        let namespace = config_map.namespace().unwrap_or_else(|| "default".into());
        let api: Api<LimaVM> = Api::namespaced(self.client.clone(), &namespace);
        let found = call_opt(
            || format!("read LimaVM {namespace}/{}", owner.name),
            api.get(&owner.name),
        )
        .await?;
        Ok(found.filter(|vm| vm.metadata.uid.as_deref() == Some(owner.uid.as_str())))
    }
}
