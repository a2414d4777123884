//! `rdd limavm list`.

use api::LimaVM;
use controller_kit::decoded::Decoded;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lima::layout::LimaHome;
use lima_controllers::adopt::{self, Orphan};
use tracing::warn;

use super::session::Session;
use super::state::{age, restarts, state};
use crate::output;
use crate::service::client::refused;

/// The state of a VM whose spec does not fit its type.
const UNREADABLE: &str = "Unreadable";
/// The state of a folder that belongs to no LimaVM.
const ORPHANED: &str = "Orphaned";

/// Prints all VMs of all namespaces, and the folders that belong to none.
pub(crate) async fn run(session: &Session<'_>) -> anyhow::Result<()> {
    let mut vms = Api::<Decoded<LimaVM>>::all(session.client.clone())
        .list(&ListParams::default())
        .await
        .map_err(refused)?
        .items;
    vms.sort_by_key(kube::ResourceExt::name_any);
    let now = Timestamp::now();
    let mut rows: Vec<_> = vms.iter().map(|vm| row(vm, now)).collect();
    for vm in &vms {
        if let Some(problems) = vm.problem_text() {
            warn!(
                "LimaVM {}/{} has fields that do not fit their type: {problems}; repair it with kubectl edit, or delete it",
                vm.namespace().unwrap_or_default(),
                vm.name_any()
            );
        }
    }
    let home = LimaHome::new(session.context.paths.lima_home());
    let is_known = |name: &str| vms.iter().any(|vm| vm.name_any() == name);
    match adopt::orphans(&home, is_known) {
        Ok(orphans) => {
            for orphan in &orphans {
                let name = orphan.dir.name();
                warn!(
                    "{} belongs to no LimaVM: take it over with `rdd limavm adopt {name}`, or delete it with `rdd limavm \
                     delete {name}`",
                    orphan.dir.path().display()
                );
            }
            rows.extend(orphans.iter().map(orphan_row));
        }
        Err(error) => warn!("cannot look for folders that belong to no LimaVM: {error}"),
    }
    output::print(&output::table(
        ["NAME", "NAMESPACE", "STATE", "RESTARTS", "AGE"],
        &rows,
    ))
}

fn row(decoded: &Decoded<LimaVM>, now: Timestamp) -> [String; 5] {
    let age = decoded
        .creation_timestamp()
        .map(|time| age(now.as_second() - time.0.as_second()));
    let readable = decoded.object().filter(|_| !decoded.has_problem_in("spec"));
    [
        decoded.name_any(),
        decoded.namespace().unwrap_or_default(),
        readable.map_or_else(|| UNREADABLE.to_owned(), state),
        readable.map_or_else(|| "-".to_owned(), |vm| restarts(vm).to_string()),
        age.unwrap_or_else(|| "<unknown>".to_owned()),
    ]
}

fn orphan_row(orphan: &Orphan) -> [String; 5] {
    let record = orphan.record.as_ref();
    let namespace = record.map_or("-", |record| record.namespace.as_str());
    [orphan.dir.name(), namespace, ORPHANED, "-", "-"].map(str::to_owned)
}
