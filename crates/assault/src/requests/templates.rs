//! Templates of VMs that grow when they are expanded, or take long to read.

use serde_json::json;

use super::decided;
use crate::plane::{CONFIG_MAPS, Plane, Shared};
use crate::trial::{Outcome, Trial};

const VMS: &str = "/apis/lima.rancherdesktop.io/v1alpha1/namespaces/default/limavms";

pub(super) fn trials() -> Vec<Trial> {
    let script = |text: String, parameter: &str| {
        format!(
            "param:\n  P: \"{parameter}\"\nimages:\n- location: image://debian-12\nprovision:\n- mode: system\n  script: \"{text}\"\n"
        )
    };
    let long = "x".repeat(300_000);
    let anchors = {
        let mut text = "images: []\na0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let again = vec![format!("*a{}", level - 1); 9].join(",");
            text.push_str(&format!("a{level}: &a{level} [{again}]\n"));
        }
        text
    };
    let all = [
        (
            "a long parameter named 30,000 times",
            script("{{.Param.P}}".repeat(30_000), &long),
        ),
        (
            "300,000 opening braces",
            script(format!("{}}}}}", "{{".repeat(150_000)), "p"),
        ),
        (
            "100,000 openings without an end",
            script("{{.Param.P ".repeat(60_000), "p"),
        ),
        ("aliases that multiply", anchors),
        (
            "100,000 levels",
            format!("images: {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ),
        (
            "a disk of 10^30 bytes",
            "images:\n- location: image://debian-12\ndisk: 1000000000000000000000000000000\n"
                .to_owned(),
        ),
    ];
    all.into_iter()
        .map(|(name, template)| {
            Trial::new(format!("templates: {name}"), async move |plane: Shared| {
                sent(&plane, &template).await
            })
        })
        .collect()
}

/// Sends the template and a VM that uses it. Both are accepted or refused.
async fn sent(plane: &Plane, template: &str) -> Outcome {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hostile"},
        "data": {"template": template}});
    decided("the ConfigMap", &plane.post(CONFIG_MAPS, &map).await?)?;
    let vm = json!({"apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
        "metadata": {"name": "hostile"}, "spec": {"templateRef": {"name": "hostile"}}});
    let answer = plane.post(&format!("{VMS}?dryRun=All"), &vm).await?;
    decided("the VM", &answer)?;
    plane.delete(&format!("{CONFIG_MAPS}/hostile")).await?;
    Ok(())
}
