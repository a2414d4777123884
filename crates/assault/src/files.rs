//! Damaged and missing files of an instance.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::plane::{CONFIG_MAPS, Shared, until};
use crate::trial::{Outcome, Trial};

/// What a stored value of the trial contains, so that its bytes are found in the database file.
const MARKER: &str = "a-marker-that-no-other-value-contains";

/// The daemon restores a removed file within seconds.
const RESTORED: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::new("files: one changed byte in a stored value", changed_byte).stopping(),
        Trial::new(
            "files: config.yaml removed while the daemon runs",
            async |plane: Shared| {
                fs::remove_file(plane.instance.kubeconfig()).map_err(|error| error.to_string())?;
                until(RESTORED, async || command(&plane, &["limavm", "list"])).await
            },
        )
        .stopping(),
    ];
    for file in [
        "ca.crt",
        "ca.key",
        "server.crt",
        "server.key",
        "admin.crt",
        "admin.key",
    ] {
        for (how, content) in [
            ("missing", None),
            ("empty", Some("")),
            ("junk", Some("junk\0junk")),
        ] {
            let name = format!("files: tls/{file} {how} at start");
            trials.push(
                Trial::new(name, async move |plane: Shared| {
                    stop(&plane)?;
                    damage(&plane.instance.dir().join("tls").join(file), content)?;
                    works(&plane)
                })
                .stopping(),
            );
        }
    }
    for (file, content) in [
        ("args.json", "{"),
        ("ready.json", "{"),
        ("rdd.pid", "1"),
        ("config.yaml", "junk"),
    ] {
        trials.push(
            Trial::new(
                format!("files: {file} is {content:?} at start"),
                async move |plane: Shared| {
                    stop(&plane)?;
                    let path = plane.instance.dir().join(file);
                    damage(&path, Some(content))?;
                    let outcome = works(&plane);
                    if file == "args.json" {
                        // The file is the user's: the start may refuse it, with a message that names it.
                        let named = outcome
                            .as_ref()
                            .is_err_and(|message| message.contains(file));
                        damage(&path, None)?;
                        return if named { Ok(()) } else { outcome };
                    }
                    outcome
                },
            )
            .stopping(),
        );
    }
    trials
}

/// One changed byte in the database: the daemon starts, lists are valid JSON, the other objects are there.
async fn changed_byte(plane: Shared) -> Outcome {
    for (name, data) in [("damaged", MARKER), ("sound", "x")] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data}});
        plane.post(CONFIG_MAPS, &map).await?;
    }
    stop(&plane)?;
    let mut changed = 0;
    for entry in fs::read_dir(plane.instance.dir())
        .map_err(|error| error.to_string())?
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "db") {
            let mut bytes = fs::read(&path).map_err(|error| error.to_string())?;
            let places: Vec<usize> = bytes
                .windows(MARKER.len())
                .enumerate()
                .filter_map(|(at, window)| (window == MARKER.as_bytes()).then_some(at))
                .collect();
            for at in &places {
                // A quote ends the JSON text too early.
                bytes[*at] = b'"';
            }
            changed += places.len();
            fs::write(&path, bytes).map_err(|error| error.to_string())?;
        }
    }
    if changed == 0 {
        return Err("the value is not in the database's file".to_owned());
    }
    works(&plane)?;
    let listed = plane
        .instance
        .run("kubectl", Duration::from_secs(30))
        .arg("--kubeconfig")
        .arg(plane.instance.kubeconfig())
        .args(["get", "--raw", CONFIG_MAPS])
        .limit(64 << 20)
        .run()
        .map_err(|error| error.to_string())?;
    let list: serde_json::Value = serde_json::from_slice(&listed.stdout)
        .map_err(|error| format!("the list is no JSON: {error}"))?;
    let names: Vec<&str> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    if names.contains(&"sound") {
        Ok(())
    } else {
        Err(format!("the sound object is gone: {names:?}"))
    }
}

fn stop(plane: &Shared) -> Outcome {
    command(plane, &["svc", "stop"])
}

/// A start and a command that needs the API succeed.
fn works(plane: &Shared) -> Outcome {
    command(plane, &["svc", "start"])?;
    command(plane, &["limavm", "list"])
}

fn command(plane: &Shared, args: &[&str]) -> Outcome {
    let output = plane.instance.rdd(args);
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed: {}", args.join(" "), stderr.trim()))
}

/// Writes the content, or removes the file.
fn damage(path: &Path, content: Option<&str>) -> Outcome {
    let result = match content {
        Some(content) => fs::write(path, content),
        None => fs::remove_file(path),
    };
    result.map_err(|error| format!("cannot damage {}: {error}", path.display()))
}
