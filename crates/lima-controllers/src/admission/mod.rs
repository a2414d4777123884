//! The admission webhooks: which LimaVMs and template ConfigMaps may be written.
//!
//! None of them writes anything. The copy of the template travels inside the new VM, so a VM that another webhook refuses
//! leaves nothing behind.

mod limavm;
mod reservations;
mod template;

use std::sync::Arc;

use api::LimaVM;
use api::lima::{TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE};
use controller_kit::webhook::{Rule, Stage, Webhook, typed};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use lima::layout::LimaHome;
use lima::template::Host;

use crate::host;
use reservations::Reservations;

/// The name of the mutating webhook of LimaVMs.
pub const LIMAVM_DEFAULTER: &str = "limavm-defaulter.lima.rancherdesktop.io";
/// The name of the validating webhook of LimaVMs.
pub const LIMAVM_VALIDATOR: &str = "limavm-validator.lima.rancherdesktop.io";
/// The name of the validating webhook of template ConfigMaps.
pub const CONFIG_MAP_VALIDATOR: &str = "limavm-configmap-validator.lima.rancherdesktop.io";

/// The rules of the webhooks. Cheap to clone; clones share the reserved names.
#[derive(Clone)]
pub struct Admission {
    client: Client,
    lima_home: LimaHome,
    host: Arc<Result<Host, String>>,
    reservations: Arc<Reservations>,
}

/// Why an object may not be written; the message is for the user.
struct Refusal(String);

/// What a mutating webhook changes: JSON Patch operations, and warnings for the user.
#[derive(Default)]
struct Changes {
    operations: Vec<serde_json::Value>,
    warnings: Vec<String>,
}

impl Admission {
    /// `client` reads the objects that a decision depends on: ConfigMaps and LimaVMs of all namespaces. The VMs' folders
    /// are in `lima_home`.
    pub fn new(client: Client, lima_home: LimaHome) -> Admission {
        let host = Arc::new(host::detect(&lima_home));
        Admission {
            client,
            lima_home,
            host,
            reservations: Arc::default(),
        }
    }

    /// CREATE of a LimaVM: refuses names that are in use or cannot be an instance's, checks the template, copies it into
    /// the object, and adds the finalizer.
    pub async fn mutate_limavm(&self, request: &AdmissionRequest<LimaVM>) -> AdmissionResponse {
        let applies = request.operation == Operation::Create && request.sub_resource.is_none();
        let result = match &request.object {
            Some(vm) if applies => self.new_limavm(request, vm).await,
            _ => Ok(Changes::default()),
        };
        response(request, result)
    }

    /// UPDATE of a LimaVM: changed parameters must fit the template, and a changed grace period must be valid.
    pub async fn validate_limavm(&self, request: &AdmissionRequest<LimaVM>) -> AdmissionResponse {
        let applies = request.operation == Operation::Update && request.sub_resource.is_none();
        let result = match (&request.old_object, &request.object) {
            (Some(old), Some(new)) if applies => self.changed_limavm(request, old, new).await,
            _ => Ok(Changes::default()),
        };
        response(request, result)
    }

    /// CREATE, UPDATE and DELETE of a ConfigMap. ConfigMaps without the template label are accepted.
    pub async fn validate_template_config_map(
        &self,
        request: &AdmissionRequest<ConfigMap>,
    ) -> AdmissionResponse {
        let result = match (&request.operation, &request.old_object, &request.object) {
            (Operation::Create | Operation::Update, old, Some(new)) => {
                self.written_config_map(old.as_ref(), new).await
            }
            (Operation::Delete, Some(old), _) => self.deleted_config_map(old).await,
            _ => Ok(Changes::default()),
        };
        response(request, result)
    }
}

fn response<K: kube::Resource>(
    request: &AdmissionRequest<K>,
    result: Result<Changes, Refusal>,
) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    match result {
        Ok(changes) => {
            if !changes.warnings.is_empty() {
                response.warnings = Some(changes.warnings);
            }
            if changes.operations.is_empty() {
                return response;
            }
            let id = request.uid.clone();
            let patch = serde_json::from_value(changes.operations.into())
                .map_err(|error| error.to_string());
            match patch.and_then(|patch| {
                response
                    .with_patch(patch)
                    .map_err(|error| error.to_string())
            }) {
                Ok(response) => response,
                Err(error) => {
                    let mut refusal = AdmissionResponse::invalid(format!(
                        "the defaults cannot be written: {error}"
                    ));
                    refusal.uid = id;
                    refusal
                }
            }
        }
        Err(Refusal(message)) => response.deny(message),
    }
}

/// The mutating webhook of new LimaVMs.
pub(crate) struct Defaulter(pub(crate) Admission);

#[async_trait::async_trait]
impl Webhook for Defaulter {
    fn name(&self) -> &'static str {
        LIMAVM_DEFAULTER
    }

    fn stage(&self) -> Stage {
        Stage::Mutating
    }

    fn rule(&self) -> Rule {
        limavms(vec![Operation::Create])
    }

    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        match typed(&request) {
            Ok(request) => self.0.mutate_limavm(&request).await,
            // The schema is checked after this webhook; its message names the field.
            Err(_) => AdmissionResponse::from(&request),
        }
    }
}

/// The validating webhook of LimaVMs.
pub(crate) struct Validator(pub(crate) Admission);

#[async_trait::async_trait]
impl Webhook for Validator {
    fn name(&self) -> &'static str {
        LIMAVM_VALIDATOR
    }

    fn stage(&self) -> Stage {
        Stage::Validating
    }

    fn rule(&self) -> Rule {
        limavms(vec![Operation::Create, Operation::Update])
    }

    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        match typed(&request) {
            Ok(request) => self.0.validate_limavm(&request).await,
            Err(response) => *response,
        }
    }
}

/// The validating webhook of template ConfigMaps.
pub(crate) struct TemplateValidator(pub(crate) Admission);

#[async_trait::async_trait]
impl Webhook for TemplateValidator {
    fn name(&self) -> &'static str {
        CONFIG_MAP_VALIDATOR
    }

    fn stage(&self) -> Stage {
        Stage::Validating
    }

    fn rule(&self) -> Rule {
        Rule {
            group: "",
            resource: "configmaps",
            operations: vec![Operation::Create, Operation::Update, Operation::Delete],
            label: Some((TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE)),
        }
    }

    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        match typed(&request) {
            Ok(request) => self.0.validate_template_config_map(&request).await,
            Err(response) => *response,
        }
    }
}

fn limavms(operations: Vec<Operation>) -> Rule {
    Rule {
        group: api::lima::GROUP,
        resource: "limavms",
        operations,
        label: None,
    }
}
