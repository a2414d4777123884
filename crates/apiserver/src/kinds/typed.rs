//! The schemas of Kubernetes' own types, as k8s-openapi describes them. Built on demand and not kept, so that a
//! daemon whose OpenAPI documents no client requests does not hold them in memory.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use schemars::{JsonSchema, generate::SchemaSettings};

use super::kind::TypedSchema;

/// Returns the definition of `T` under `name`, with the definitions that it refers to.
pub(super) fn of<T: JsonSchema>(name: &'static str) -> TypedSchema {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<T>();
    (name, generator.take_definitions(true).into_iter().collect())
}

/// The name of the definition of every object's metadata.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Returns the schema of every object's metadata.
pub(crate) fn object_meta() -> TypedSchema {
    of::<v1::ObjectMeta>(OBJECT_META)
}

/// Returns the schema of `Status`.
pub(crate) fn status() -> TypedSchema {
    of::<v1::Status>("io.k8s.apimachinery.pkg.apis.meta.v1.Status")
}
