//! Connects the controllers' webhooks to the API server's admission in process: the same requests and responses that go
//! over HTTPS when a controller runs in a program of its own.

use std::sync::Arc;

use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Denied, Operation};
use controller_kit::webhook::{Rule, Stage, Webhook};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest as Request, AdmissionResponse, Operation as Verb};
use serde_json::{Value, json};

/// HTTP's "unprocessable": the object does not fit its kind.
const INVALID: u16 = 422;
/// HTTP's "internal error".
const INTERNAL: u16 = 500;

/// The webhook as an admission plugin of the API server.
pub(crate) fn plugin(webhook: Arc<dyn Webhook>) -> Arc<dyn AdmissionPlugin> {
    let rule = webhook.rule();
    Arc::new(InProcess { webhook, rule })
}

struct InProcess {
    webhook: Arc<dyn Webhook>,
    rule: Rule,
}

#[async_trait::async_trait]
impl AdmissionPlugin for InProcess {
    fn name(&self) -> &str {
        self.webhook.name()
    }

    fn handles(&self, request: &AdmissionRequest) -> bool {
        request.group == self.rule.group
            && request.resource == self.rule.resource
            && request.subresource.is_none()
            && self.rule.operations.contains(&verb(request.operation))
    }

    async fn mutate(
        &self,
        request: &AdmissionRequest,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        if self.webhook.stage() != Stage::Mutating || !self.selects(request, Some(object)) {
            return Ok(());
        }
        // The schema is checked after the mutating webhooks; its message names the field.
        let Ok(review) = review(request, Some(object)) else {
            return Ok(());
        };
        let response = decided(self.webhook.review(review).await, warnings)?;
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

    async fn validate(
        &self,
        request: &AdmissionRequest,
        object: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        if self.webhook.stage() != Stage::Validating || !self.selects(request, object) {
            return Ok(());
        }
        let review = review(request, object)?;
        decided(self.webhook.review(review).await, warnings).map(|_| ())
    }
}

impl InProcess {
    /// Whether the object, before or after the write, has the label of the rule. Most ConfigMaps have not, and are not
    /// decoded.
    fn selects(&self, request: &AdmissionRequest, object: Option<&Value>) -> bool {
        let Some((label, value)) = self.rule.label else {
            return true;
        };
        [object, request.old_object.as_ref()]
            .into_iter()
            .flatten()
            .any(|object| object["metadata"]["labels"][label] == value)
    }
}

fn verb(operation: Operation) -> Verb {
    match operation {
        Operation::Create => Verb::Create,
        Operation::Update => Verb::Update,
        Operation::Delete => Verb::Delete,
    }
}

/// The request as a webhook gets it (`admission.k8s.io/v1`, AdmissionReview).
fn review(
    request: &AdmissionRequest,
    object: Option<&Value>,
) -> Result<Request<DynamicObject>, Denied> {
    let review = json!({
        // Webhooks echo it to match responses to requests, which is not needed in process.
        "uid": "",
        "kind": { "group": request.group, "version": request.version, "kind": request.kind },
        "resource": { "group": request.group, "version": request.version, "resource": request.resource },
        "subResource": request.subresource,
        "name": request.name,
        "namespace": request.namespace,
        "operation": verb(request.operation),
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
    fn webhook_request_contains_what_the_api_server_knows() {
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
        let review = review(&request, Some(&object)).unwrap();
        let review = controller_kit::webhook::typed::<api::LimaVM>(&review).unwrap();
        assert_eq!(review.operation, Verb::Update);
        assert_eq!(review.object.unwrap().spec.template_ref.name, "t");
        assert_eq!(review.user_info.username.as_deref(), Some("me"));
        assert!(review.dry_run && review.old_object.is_none());
    }

    #[test]
    fn refusal_keeps_its_message_and_code() {
        let mut response = AdmissionResponse::invalid("no template");
        response.warnings = Some(vec!["careful".into()]);
        let mut warnings = Vec::new();
        let denied = decided(response, &mut warnings).unwrap_err();
        assert!(denied.message.contains("no template"));
        assert_eq!(warnings, ["careful"]);
    }
}
