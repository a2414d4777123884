//! The state of the VMs in the API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use testutils::Instance;

/// The timeout of a request. A daemon answers in milliseconds unless it is frozen or its disk is full.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state in a VM's object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) running: bool,
    pub(crate) deleting: bool,
    /// STATUS/REASON of the condition `Running`.
    pub(crate) condition: String,
    pub(crate) message: String,
    pub(crate) restart_count: u64,
    /// The version of the template that is in effect.
    pub(crate) in_effect: String,
    /// The version and the text of its template.
    pub(crate) template: Option<(String, String)>,
}

/// All VMs by name.
///
/// # Errors
/// The error of kubectl.
pub(crate) fn read(instance: &Instance) -> Result<BTreeMap<String, Object>, String> {
    let output = instance
        .run("kubectl", PATIENCE)
        .arg("--kubeconfig")
        .arg(instance.kubeconfig())
        .args(["--request-timeout=8s", "get", "limavms,configmaps"])
        .args(["-n", "default", "-o", "json"])
        .limit(64 << 20)
        .run()
        .map_err(|error| error.to_string())?;
    let list: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let items = list["items"].as_array().ok_or("kubectl printed no list")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut objects = BTreeMap::new();
    let mut templates = BTreeMap::new();
    for item in items {
        let metadata = &item["metadata"];
        let name = text(&metadata["name"]);
        if item["kind"] == "ConfigMap" {
            if let Some(vm) = name.strip_suffix("-template") {
                let version = text(&metadata["resourceVersion"]);
                templates.insert(vm.to_owned(), (version, text(&item["data"]["template"])));
            }
            continue;
        }
        let status = &item["status"];
        let running = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Running");
        let condition = running.map_or_else(String::new, |running| {
            format!("{}/{}", text(&running["status"]), text(&running["reason"]))
        });
        objects.insert(
            name,
            Object {
                running: item["spec"]["running"] == true,
                deleting: !metadata["deletionTimestamp"].is_null(),
                condition,
                message: running.map_or_else(String::new, |running| text(&running["message"])),
                restart_count: status["restartCount"].as_u64().unwrap_or(0),
                in_effect: text(&status["observedTemplateResourceVersion"]),
                template: None,
            },
        );
    }
    for (name, object) in &mut objects {
        object.template = templates.remove(name);
    }
    Ok(objects)
}
