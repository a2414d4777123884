//! Finds a VM by its name, which is unique across namespaces.

use anyhow::Context as _;
use api::LimaVM;
use controller_kit::decoded::Decoded;
use kube::api::ListParams;
use kube::{Api, Client, Resource as _, ResourceExt as _};

use crate::service::client::refused;

/// Returns the VM of this name, and the API of its namespace.
pub(crate) async fn find(client: &Client, name: &str) -> anyhow::Result<(Api<LimaVM>, LimaVM)> {
    find_opt(client, name)
        .await?
        .with_context(|| format!("LimaVM {name:?} not found in any namespace"))
}

/// The same; `None` if there is no such VM. Of a VM with fields that do not fit their type, those fields are left out.
pub(crate) async fn find_opt(
    client: &Client,
    name: &str,
) -> anyhow::Result<Option<(Api<LimaVM>, LimaVM)>> {
    lima::layout::validate_name(name)?;
    let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = Api::<Decoded<LimaVM>>::all(client.clone())
        .list(&parameters)
        .await
        .map_err(refused)?;
    let Some(decoded) = found.items.into_iter().next() else {
        return Ok(None);
    };
    let namespace = decoded.namespace().unwrap_or_else(|| "default".to_owned());
    let metadata = decoded.meta().clone();
    let vm = decoded.into_object().unwrap_or_else(|| {
        let mut vm = LimaVM::new(name, api::LimaVMSpec::default());
        vm.metadata = metadata;
        vm
    });
    Ok(Some((Api::namespaced(client.clone(), &namespace), vm)))
}
