//! What may be written: LimaVMs and their template ConfigMaps.
//!
//! Each function takes an admission request as Kubernetes defines it and returns its response, so the same code
//! serves the daemon (in process) and webhooks over HTTPS. Nothing is written here, in a dry run or not: the copy of
//! the template travels inside the new VM, so a VM that is refused in the end has left nothing behind.
//!
mod limavm;
mod reservations;
pub(crate) mod template;

use std::sync::Arc;

use api::LimaVM;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
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

/// Decides what may be written. Cheap to clone; clones know of each other's VMs on the way.
#[derive(Clone)]
pub struct Admission {
    client: Client,
    lima_home: LimaHome,
    host: Arc<Result<Host, String>>,
    on_the_way: Arc<Reservations>,
}

/// Why something may not be written; the message is for the user.
struct Refusal(String);

/// What a mutating function wants changed: JSON Patch operations, and warnings for the user.
#[derive(Default)]
struct Changes {
    operations: Vec<serde_json::Value>,
    warnings: Vec<String>,
}

impl Admission {
    /// `client` reads the objects that a decision depends on: ConfigMaps and LimaVMs of all namespaces. VMs live in
    /// `lima_home`, and this machine gives templates their defaults.
    pub fn new(client: Client, lima_home: LimaHome) -> Admission {
        let host = Arc::new(host::detect(&lima_home));
        Admission {
            client,
            lima_home,
            host,
            on_the_way: Arc::default(),
        }
    }

    /// CREATE of a LimaVM: adds the finalizer, refuses names that are in use or cannot be an instance's, checks the
    /// template and copies it into the object.
    pub async fn mutate_limavm(&self, request: &AdmissionRequest<LimaVM>) -> AdmissionResponse {
        let concerned = request.operation == Operation::Create && request.sub_resource.is_none();
        let result = match &request.object {
            Some(vm) if concerned => self.new_limavm(request, vm).await,
            _ => Ok(Changes::default()),
        };
        answer(request, result)
    }

    /// UPDATE of a LimaVM: changed parameters must still fit the template, and a grace period must be readable.
    pub async fn validate_limavm(&self, request: &AdmissionRequest<LimaVM>) -> AdmissionResponse {
        let concerned = request.operation == Operation::Update && request.sub_resource.is_none();
        let result = match (&request.old_object, &request.object) {
            (Some(old), Some(new)) if concerned => self.changed_limavm(request, old, new).await,
            _ => Ok(Changes::default()),
        };
        answer(request, result)
    }

    /// CREATE, UPDATE and DELETE of a ConfigMap. Those that are no template ConfigMaps pass.
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
        answer(request, result)
    }
}

fn answer<K: kube::Resource>(
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
