//! Values that the schema's type allows in JSON and that no client's type can hold.

use serde_json::{Value, json};

use super::decided;
use crate::plane::{CONFIG_MAPS, MERGE_PATCH, Plane, Shared};
use crate::trial::{Outcome, Trial};

const VMS: &str = "/apis/lima.rancherdesktop.io/v1alpha1/namespaces/default/limavms";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("values: numbers in a VM's status", async |plane: Shared| {
            let values = [
                json!(3.0),
                json!(2_147_483_648_u64),
                json!(1e300),
                json!(-1),
                json!(1.5),
                json!("1"),
            ];
            for value in values {
                one(
                    &plane,
                    "/status",
                    json!({"status": {"restartCount": value}}),
                )
                .await?;
            }
            Ok(())
        }),
        Trial::new("values: durations in a VM's spec", async |plane: Shared| {
            let durations = [
                "100000000000000000000000s",
                "99999999999999999999h",
                "1e9s",
                "-5s",
                "",
                "9223372036854775807ns",
            ];
            for duration in durations {
                one(
                    &plane,
                    "",
                    json!({"spec": {"stop": {"gracePeriod": duration}}}),
                )
                .await?;
            }
            Ok(())
        }),
        Trial::new(
            "values: times and names in metadata",
            async |plane: Shared| {
                for metadata in [
                    json!({"deletionGracePeriodSeconds": 9_223_372_036_854_775_807_u64}),
                    json!({"generation": 1e300}),
                    json!({"creationTimestamp": "9999-99-99T99:99:99Z"}),
                    json!({"labels": {"a": 1}}),
                    json!({"annotations": {"lima.rancherdesktop.io/restartRequested": "\u{0}"}}),
                ] {
                    one(&plane, "", json!({"metadata": metadata})).await?;
                }
                Ok(())
            },
        ),
    ]
}

/// Writes the value into a stopped VM; whatever the server says, the commands still work afterwards.
async fn one(plane: &Plane, subresource: &str, change: Value) -> Outcome {
    let template = "images:\n- location: /nowhere/image\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "values"},
        "data": {"template": template}});
    plane.post(CONFIG_MAPS, &map).await?;
    let vm = json!({"apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
        "metadata": {"name": "values"}, "spec": {"templateRef": {"name": "values"}, "running": false}});
    plane.post(VMS, &vm).await?;
    let path = format!("{VMS}/values{subresource}");
    decided(
        &change.to_string(),
        &plane.patch(&path, MERGE_PATCH, &change).await?,
    )?;
    let listed = plane.instance.rdd(&["limavm", "list"]);
    if !listed.status.success() {
        let stderr = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
        return Err(format!("after {change}, limavm list fails: {stderr}"));
    }
    Ok(())
}
