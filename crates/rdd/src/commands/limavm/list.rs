//! `rdd limavm list`.

use api::LimaVM;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::state::{age, restarts, state};
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
    let age = vm
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| age(now.as_second() - time.0.as_second()));
    [
        vm.name_any(),
        vm.namespace().unwrap_or_default(),
        state(vm),
        restarts(vm).to_string(),
        age.unwrap_or_else(|| "<unknown>".to_owned()),
    ]
}
