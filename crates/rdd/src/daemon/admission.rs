//! Joins the API server's in-process admission to the controllers' webhooks: the same requests and responses that go
//! over HTTPS when a controller runs in a process of its own.

use std::sync::Arc;

use ::controllers::admission::{
    Admission, CONFIG_MAP_VALIDATOR, LIMAVM_DEFAULTER, LIMAVM_VALIDATOR,
};
use api::LimaVM;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Denied, Operation};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::admission::{AdmissionRequest as Request, AdmissionResponse};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// HTTP's "unprocessable": the object cannot be what it says it is.
const INVALID: u16 = 422;
/// HTTP's "internal error".
const INTERNAL: u16 = 500;

/// The plugins of the LimaVM controller.
pub(crate) fn plugins(admission: &Admission) -> Vec<Arc<dyn AdmissionPlugin>> {
    vec![
        Arc::new(LimaVmDefaulter(admission.clone())),
        Arc::new(LimaVmValidator(admission.clone())),
        Arc::new(TemplateValidator(admission.clone())),
    ]
}

/// Adds the finalizer and copies the template of a new LimaVM.
struct LimaVmDefaulter(Admission);

#[async_trait::async_trait]
impl AdmissionPlugin for LimaVmDefaulter {
    fn name(&self) -> &str {
        LIMAVM_DEFAULTER
    }

    fn handles(&self, request: &AdmissionRequest) -> bool {
        is_limavm(request) && request.operation == Operation::Create
    }

    async fn mutate(
        &self,
        request: &AdmissionRequest,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        // The schema has not looked yet; it says better than a parser what is wrong with an object.
        let Ok(review) = review::<LimaVM>(request, Some(object)) else {
            return Ok(());
        };
        let response = decided(self.0.mutate_limavm(&review).await, warnings)?;
        if let Some(patch) = response.patch {
            let failed = |error: &dyn std::fmt::Display| Denied {
                message: format!("the defaults cannot be applied: {error}"),
                code: INTERNAL,
            };
            let patch: json_patch::Patch =
                serde_json::from_slice(&patch).map_err(|error| failed(&error))?;
            json_patch::patch(object, &patch).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// Accepts or refuses a LimaVM.
struct LimaVmValidator(Admission);

#[async_trait::async_trait]
impl AdmissionPlugin for LimaVmValidator {
    fn name(&self) -> &str {
        LIMAVM_VALIDATOR
    }

    fn handles(&self, request: &AdmissionRequest) -> bool {
        is_limavm(request) && request.operation != Operation::Delete
    }

    async fn validate(
        &self,
        request: &AdmissionRequest,
        object: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        let review = review::<LimaVM>(request, object)?;
        decided(self.0.validate_limavm(&review).await, warnings).map(|_| ())
    }
}

/// Accepts or refuses a change of a template ConfigMap.
struct TemplateValidator(Admission);

#[async_trait::async_trait]
impl AdmissionPlugin for TemplateValidator {
    fn name(&self) -> &str {
        CONFIG_MAP_VALIDATOR
    }

    fn handles(&self, request: &AdmissionRequest) -> bool {
        request.group.is_empty()
            && request.resource == "configmaps"
            && request.subresource.is_none()
    }

    async fn validate(
        &self,
        request: &AdmissionRequest,
        object: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        // Most ConfigMaps are none of ours; they are not decoded.
        if ![object, request.old_object.as_ref()]
            .into_iter()
            .flatten()
            .any(has_template_label)
        {
            return Ok(());
        }
        let review = review::<ConfigMap>(request, object)?;
        decided(self.0.validate_template_config_map(&review).await, warnings).map(|_| ())
    }
}

fn is_limavm(request: &AdmissionRequest) -> bool {
    request.group == api::lima::GROUP
        && request.resource == "limavms"
        && request.subresource.is_none()
}

fn has_template_label(object: &Value) -> bool {
    object["metadata"]["labels"][api::lima::TEMPLATE_LABEL] == api::lima::TEMPLATE_LABEL_VALUE
}

/// The request as a webhook would get it (`admission.k8s.io/v1`, AdmissionReview).
fn review<T: kube::Resource + DeserializeOwned>(
    request: &AdmissionRequest,
    object: Option<&Value>,
) -> Result<Request<T>, Denied> {
    let operation = match request.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    };
    let review = json!({
        // Webhooks echo it; in process nothing is to be matched.
        "uid": "",
        "kind": { "group": request.group, "version": request.version, "kind": request.kind },
        "resource": { "group": request.group, "version": request.version, "resource": request.resource },
        "subResource": request.subresource,
        "name": request.name,
        "namespace": request.namespace,
        "operation": operation,
        "userInfo": { "username": request.user.name, "groups": request.user.groups },
        "object": object,
        "oldObject": request.old_object,
        "dryRun": request.dry_run,
    });
    serde_json::from_value(review).map_err(|error| Denied {
        message: format!("the object cannot be read: {error}"),
        code: INVALID,
    })
}

fn decided(
    response: AdmissionResponse,
    warnings: &mut Vec<String>,
) -> Result<AdmissionResponse, Denied> {
    warnings.extend(response.warnings.iter().flatten().cloned());
    if response.allowed {
        return Ok(response);
    }
    let mut denied = Denied::new(response.result.message);
    if response.result.code != 0 {
        denied.code = response.result.code;
    }
    Err(denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhooks_request_holds_what_the_api_server_knows() {
        let request = AdmissionRequest {
            operation: Operation::Update,
            group: api::lima::GROUP.into(),
            version: api::VERSION.into(),
            resource: "limavms".into(),
            subresource: None,
            kind: "LimaVM".into(),
            namespace: Some("default".into()),
            name: "demo".into(),
            user: apiserver::User::master("me"),
            old_object: None,
            dry_run: true,
        };
        let object = json!({
            "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
            "metadata": { "name": "demo" }, "spec": { "templateRef": { "name": "t" } }
        });
        let review = review::<LimaVM>(&request, Some(&object)).unwrap();
        assert_eq!(review.operation, kube::core::admission::Operation::Update);
        assert_eq!(review.object.unwrap().spec.template_ref.name, "t");
        assert_eq!(review.user_info.username.as_deref(), Some("me"));
        assert!(review.dry_run && review.old_object.is_none());
        assert!(is_limavm(&request));
    }

    #[test]
    fn a_refusal_keeps_its_message_and_code() {
        let mut response = AdmissionResponse::invalid("no template");
        response.warnings = Some(vec!["careful".into()]);
        let mut warnings = Vec::new();
        let denied = decided(response, &mut warnings).unwrap_err();
        assert!(denied.message.contains("no template"));
        assert_eq!(warnings, ["careful"]);
    }
}
