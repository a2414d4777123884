//! The controller of LimaVMs.

use std::sync::Arc;

use controller_kit::webhook::Webhook;
use controller_kit::{Context, Controller};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Client, CustomResourceExt};

use crate::admission::{Admission, Defaulter, TemplateValidator, Validator};
use crate::config::Config;
use crate::limavm;

/// Keeps each VM in the state that its LimaVM declares.
pub struct LimaVmController {
    config: Config,
}

impl LimaVmController {
    /// A controller of the VMs in this Lima home.
    pub fn new(config: Config) -> LimaVmController {
        LimaVmController { config }
    }
}

#[async_trait::async_trait]
impl Controller for LimaVmController {
    fn name(&self) -> &'static str {
        api::lima::CONTROLLER
    }

    fn group(&self) -> &'static str {
        api::lima::SHORT_GROUP
    }

    fn crds(&self) -> Vec<CustomResourceDefinition> {
        vec![api::LimaVM::crd()]
    }

    fn webhooks(&self, client: &Client) -> Vec<Arc<dyn Webhook>> {
        let admission = Admission::new(client.clone(), self.config.lima_home.clone());
        vec![
            Arc::new(Defaulter(admission.clone())),
            Arc::new(Validator(admission.clone())),
            Arc::new(TemplateValidator(admission)),
        ]
    }

    async fn run(&self, context: Context) {
        limavm::dispatch(self.config.clone(), context).await;
    }
}
