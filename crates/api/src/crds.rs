//! The CustomResourceDefinitions of all kinds, as objects and as the files of `crds/`.
//!
//! The files are generated from the types, so that people can install them on another API server, and so that a review shows
//! each change of the interface.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, ResourceExt};

use crate::LimaVM;
use crate::notary::Notary;
use crate::replica_set::ConfigMapReplicaSet;

/// All CustomResourceDefinitions.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![LimaVM::crd(), Notary::crd(), ConfigMapReplicaSet::crd()]
}

/// One file of `crates/api/crds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrdFile {
    /// `limavms.lima.rancherdesktop.io.yaml`
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Why a CustomResourceDefinition cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CustomResourceDefinition {name} as YAML: {reason}")]
pub struct CrdFileError {
    /// The name of the definition.
    pub name: String,
    /// The cause.
    pub reason: String,
}

/// The files of `crates/api/crds`, as they must be.
///
/// # Errors
/// One of them cannot be written as YAML.
pub fn crd_files() -> Result<Vec<CrdFile>, CrdFileError> {
    crds()
        .iter()
        .map(|crd| {
            let name = crd.name_any();
            let error = |reason: String| CrdFileError { name: name.clone(), reason };
            // A JSON value sorts the fields, so that their order never changes.
            let value = serde_json::to_value(crd).map_err(|e| error(e.to_string()))?;
            let yaml = serde_saphyr::to_string(&value).map_err(|e| error(e.to_string()))?;
            Ok(CrdFile {
                name: format!("{name}.yaml"),
                text: format!("# Generated from crates/api/src by `cargo xtask generate`; do not edit.\n{yaml}"),
            })
        })
        .collect()
}
