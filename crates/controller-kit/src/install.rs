//! Installs and updates the CustomResourceDefinitions, and waits until the API server serves them.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::call::{CallError, call, call_opt};
use crate::manager::ManagerError;

/// An API server establishes a definition within milliseconds, a loaded cluster within seconds.
const ESTABLISHED: Duration = Duration::from_secs(30);
/// Another program may update the same definition at the same time.
const ATTEMPTS: u32 = 5;

/// Installs this definition or updates it, and waits until the API server serves it.
pub(crate) async fn install(
    client: &Client,
    wanted: &CustomResourceDefinition,
) -> Result<(), ManagerError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = wanted.name_any();
    let mut attempt = 0;
    let found = loop {
        match write(&api, &name, wanted).await {
            Ok(found) => break found,
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    };
    // The daemon's API server has it already, so that no watch is needed.
    let is_established = conditions::is_crd_established();
    if kube::runtime::wait::Condition::matches_object(&is_established, Some(&found)) {
        return Ok(());
    }
    match tokio::time::timeout(ESTABLISHED, await_condition(api, &name, is_established)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ManagerError::NotEstablished {
            name,
            reason: error.to_string(),
        }),
        Err(_) => {
            let reason = format!("it is not served after {} s", ESTABLISHED.as_secs());
            Err(ManagerError::NotEstablished { name, reason })
        }
    }
}

async fn write(
    api: &Api<CustomResourceDefinition>,
    name: &str,
    wanted: &CustomResourceDefinition,
) -> Result<CustomResourceDefinition, CallError> {
    let action = |verb: &str| format!("{verb} CustomResourceDefinition {name}");
    let Some(found) = call_opt(|| action("read"), api.get(name)).await? else {
        return call(
            || action("create"),
            api.create(&PostParams::default(), wanted),
        )
        .await;
    };
    let spec = |crd: &CustomResourceDefinition| serde_json::to_value(&crd.spec).unwrap_or_default();
    if is_current(&spec(&found), &spec(wanted)) {
        return Ok(found);
    }
    let mut new = wanted.clone();
    new.metadata.resource_version = found.resource_version();
    call(
        || action("update"),
        api.replace(name, &PostParams::default(), &new),
    )
    .await
}

/// Whether `found` equals `wanted` except for defaults that the server added. Schemas must be equal, because an added
/// field changes their meaning.
fn is_current(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            let found = found.get(key).unwrap_or(&Value::Null);
            if key == "schema" {
                found == wanted
            } else {
                is_current(found, wanted)
            }
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| is_current(found, wanted))
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn definition_is_current_if_only_the_servers_defaults_were_added() {
        let wanted = json!({ "names": { "kind": "A" }, "versions": [{ "name": "v1", "schema": { "type": "object" } }] });
        let defaulted = json!({
            "names": { "kind": "A", "listKind": "AList" }, "conversion": { "strategy": "None" },
            "versions": [{ "name": "v1", "schema": { "type": "object" } }],
        });
        assert!(is_current(&defaulted, &wanted));
        let older =
            json!({ "names": { "kind": "A" }, "versions": [{ "name": "v1", "schema": {} }] });
        assert!(!is_current(&older, &wanted));
        let field_gone = json!({
            "names": { "kind": "A" },
            "versions": [{ "name": "v1", "schema": { "type": "object", "properties": {} } }],
        });
        assert!(!is_current(&field_gone, &wanted));
    }
}
