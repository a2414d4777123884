//! In-process admission.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Denied, Operation};
use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, WIDGETS, config_map, widget};

/// Adds a finalizer to widgets, refuses some, warns about some.
#[derive(Default)]
struct Plugin {
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl AdmissionPlugin for Plugin {
    fn name(&self) -> &'static str {
        "plugin.example.com"
    }

    fn handles(&self, request: &AdmissionRequest) -> bool {
        request.resource == "widgets" && request.subresource.is_none()
    }

    async fn mutate(
        &self,
        request: &AdmissionRequest,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        assert_ne!(request.operation, Operation::Delete);
        if request.operation == Operation::Create {
            assert!(request.old_object.is_none());
            object["metadata"]["finalizers"] = json!(["example.com/hold"]);
            object["spec"]["dropped"] = true.into();
        }
        if object["spec"]["size"] == 9 {
            warnings.push("9 is large".into());
        }
        Ok(())
    }

    async fn validate(
        &self,
        request: &AdmissionRequest,
        object: Option<&Value>,
        _warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match object {
            Some(object) if object["spec"]["size"] == 5 => Err(Denied::new("5 is not nice")),
            None if request.old_object.as_ref().unwrap()["spec"]["size"] == 7 => {
                Err(Denied::new("7 stays"))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn admission_plugins_change_refuse_and_warn() {
    let plugin = Arc::new(Plugin::default());
    let api = Api::start().await;
    api.server
        .add_admission(Arc::clone(&plugin) as Arc<dyn AdmissionPlugin>);
    api.post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    assert_eq!(
        plugin.asked.load(Ordering::Relaxed),
        0,
        "the plugin sees only the kinds that it handles"
    );
    let answer = api.post(WIDGETS, &widget("a", json!({"size": 9}))).await;
    assert_eq!(answer.warnings(), ["299 - \"9 is large\""]);
    let made = answer.ok();
    assert_eq!(made["metadata"]["finalizers"], json!(["example.com/hold"]));
    assert!(
        made["spec"].get("dropped").is_none(),
        "fields that a plugin adds are pruned too"
    );
    let path = format!("{WIDGETS}/a");
    let text = api
        .patch("merge", &path, &json!({"spec": {"size": 5}}))
        .await
        .refused(403, "Forbidden");
    assert_eq!(
        text,
        "admission webhook \"plugin.example.com\" denied the request: 5 is not nice"
    );
    api.patch("merge", &path, &json!({"spec": {"size": 7}}))
        .await
        .ok();
    let text = api.delete(&path).await.refused(403, "Forbidden");
    assert!(text.contains("7 stays"), "{text}");
    assert_eq!(api.get(&path).await.ok()["spec"]["size"], 7);
}
