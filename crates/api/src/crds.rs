//! The CustomResourceDefinitions of all kinds, as objects and as the files of `crds/`.
//!
//! The types are the source; the files are generated from them, for users who install them elsewhere and so that a
//! change of the interface is seen in review.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, ResourceExt};

use crate::LimaVM;

/// All CustomResourceDefinitions.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![LimaVM::crd()]
}

/// One file of `crates/api/crds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrdFile {
    /// `limavms.lima.rancherdesktop.io.yaml`
    pub name: String,
    /// What belongs into it.
    pub text: String,
}

/// A CustomResourceDefinition that cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CustomResourceDefinition {name} as YAML: {reason}")]
pub struct CrdFileError {
    /// The definition.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// What the files of `crates/api/crds` must hold.
///
/// # Errors
/// One of them cannot be written as YAML.
pub fn crd_files() -> Result<Vec<CrdFile>, CrdFileError> {
    crds()
        .iter()
        .map(|crd| {
            let name = crd.name_any();
            let error = |reason: String| CrdFileError { name: name.clone(), reason };
            // By way of a value, so that the order of the fields is that of the alphabet and never changes.
            let value = serde_json::to_value(crd).map_err(|e| error(e.to_string()))?;
            let yaml = serde_saphyr::to_string(&value).map_err(|e| error(e.to_string()))?;
            Ok(CrdFile {
                name: format!("{name}.yaml"),
                text: format!("# Generated from crates/api/src by `cargo xtask generate`; do not edit.\n{yaml}"),
            })
        })
        .collect()
}
