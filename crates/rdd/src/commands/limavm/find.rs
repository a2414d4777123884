//! Finds a VM by its name, which is unique across namespaces.

use anyhow::Context as _;
use api::LimaVM;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::service::client::refused;

/// The VM of this name, and its API in its namespace.
pub(crate) async fn find(client: &Client, name: &str) -> anyhow::Result<(Api<LimaVM>, LimaVM)> {
    lima::layout::validate_name(name)?;
    let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = Api::<LimaVM>::all(client.clone())
        .list(&parameters)
        .await
        .map_err(refused)?;
    let vm = found
        .items
        .into_iter()
        .next()
        .with_context(|| format!("LimaVM {name:?} not found in any namespace"))?;
    let namespace = vm.namespace().unwrap_or_else(|| "default".to_owned());
    Ok((Api::namespaced(client.clone(), &namespace), vm))
}
