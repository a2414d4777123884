//! `rdd limavm list`.

use api::LimaVM;
use api::lima::condition;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::output;
use crate::service::client::refused;

/// Prints all VMs of all namespaces.
pub(crate) async fn run(client: &Client) -> anyhow::Result<()> {
    let mut vms = Api::<LimaVM>::all(client.clone())
        .list(&ListParams::default())
        .await
        .map_err(refused)?
        .items;
    vms.sort_by_key(kube::ResourceExt::name_any);
    let now = Timestamp::now();
    let rows: Vec<_> = vms.iter().map(|vm| row(vm, now)).collect();
    output::print(&output::table(
        ["NAME", "NAMESPACE", "STATE", "RESTARTS", "AGE"],
        &rows,
    ))
}

fn row(vm: &LimaVM, now: Timestamp) -> [String; 5] {
    let reason = |kind: &str| vm.condition(kind).map(|condition| condition.reason.clone());
    let created = vm
        .condition(condition::CREATED)
        .is_some_and(|created| created.status == "True");
    let state = if vm.metadata.deletion_timestamp.is_some() {
        "Deleting".to_owned()
    } else if created {
        reason(condition::RUNNING).unwrap_or_else(|| "Unknown".to_owned())
    } else {
        reason(condition::CREATED).unwrap_or_else(|| "Pending".to_owned())
    };
    // The first time is a start and no restart.
    let restarts = vm
        .status
        .as_ref()
        .map_or(0, |status| status.restart_count.saturating_sub(1).max(0));
    let age = vm
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| age(now.as_second() - time.0.as_second()));
    [
        vm.name_any(),
        vm.namespace().unwrap_or_default(),
        state,
        restarts.to_string(),
        age.unwrap_or_else(|| "<unknown>".to_owned()),
    ]
}

/// Seconds as kubectl shows an age, in its largest unit.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
