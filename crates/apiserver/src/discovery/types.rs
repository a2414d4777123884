//! The schemas of Kubernetes' own kinds, as k8s-openapi describes them. Made when asked for and not kept: a
//! daemon that nobody asks does not carry them.

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Event, Namespace, Secret, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

fn of<T: JsonSchema>(name: &'static str) -> (&'static str, Map<String, Value>) {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<T>();
    (name, generator.take_definitions(true).into_iter().collect())
}

/// The name of a kind's definition, and the definitions that it needs.
pub(crate) fn definitions(group: &str, kind: &str) -> Option<(&'static str, Map<String, Value>)> {
    Some(match kind {
        "Event" if group == "events.k8s.io" => {
            of::<k8s_openapi::api::events::v1::Event>("io.k8s.api.events.v1.Event")
        }
        "ConfigMap" => of::<ConfigMap>("io.k8s.api.core.v1.ConfigMap"),
        "Event" => of::<Event>("io.k8s.api.core.v1.Event"),
        "Namespace" => of::<Namespace>("io.k8s.api.core.v1.Namespace"),
        "Secret" => of::<Secret>("io.k8s.api.core.v1.Secret"),
        "ServiceAccount" => of::<ServiceAccount>("io.k8s.api.core.v1.ServiceAccount"),
        "Lease" => of::<Lease>("io.k8s.api.coordination.v1.Lease"),
        "CustomResourceDefinition" => of::<CustomResourceDefinition>(
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        ),
        "ObjectMeta" => of::<ObjectMeta>(OBJECT_META),
        "Status" => of::<Status>("io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
        _ => return None,
    })
}

/// The definition of every object's metadata.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
