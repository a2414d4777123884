//! Recreating the object of a VM from its folder.
//!
//! A folder without an object is left behind when the database is lost, when finalizers are removed by hand, or when an
//! older backup is restored. After the loss of the database (the folder was recorded by another control plane) the VM is
//! adopted by itself, because its user did not remove it (hazard 48). In the other cases the user decides: `rdd limavm
//! adopt NAME` or `rdd limavm delete NAME`.

use std::collections::BTreeMap;

use api::lima::{ADOPT, TEMPLATE_KEY, TemplateRef};
use api::{LimaVM, LimaVMSpec};
use controller_kit::call::{CallError, call, call_opt};
use controller_kit::decoded::Decoded;
use controller_kit::recorder::{Recorder, Severity, reference};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use lima::instance;
use lima::layout::{InstanceDir, LimaHome};
use serde_json::json;

use super::files;
use super::owner_record::OwnerRecord;

/// The namespace whose uid identifies a control plane: every Kubernetes API server has it, and its uid lasts as long as the
/// database.
const IDENTITY: &str = "kube-system";

/// A folder whose VM has no object.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// The folder.
    pub dir: InstanceDir,
    /// Its record; `None` for a folder of an older rdd, or when the record is damaged.
    pub record: Option<OwnerRecord>,
}

/// Why a VM could not be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The folder has neither a record nor a template.
    #[error("cannot adopt {}: it has neither a record of its VM nor a readable lima.yaml ({reason})", folder.display())]
    NoTemplate {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why lima.yaml cannot be read.
        reason: String,
    },
    /// The mark of the template could not be written.
    #[error("cannot adopt {}: {reason}", folder.display())]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// The cause.
        reason: String,
    },
    /// The API server refused a call.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Identifies the control plane; `None` if it has no such namespace.
///
/// # Errors
/// The API server refused the call.
pub async fn cluster(client: &Client) -> Result<Option<String>, CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = call_opt(|| format!("read Namespace {IDENTITY}"), api.get(IDENTITY)).await?;
    Ok(found.and_then(|namespace| namespace.uid()))
}

/// The folders of this Lima home that belong to none of the VMs with these names.
///
/// # Errors
/// The Lima home cannot be listed.
pub fn orphans(
    home: &LimaHome,
    mut is_known: impl FnMut(&str) -> bool,
) -> Result<Vec<Orphan>, instance::InstanceError> {
    let dirs = instance::list(home)?;
    Ok(dirs
        .into_iter()
        .filter(|dir| !is_known(dir.name()) && dir.lima_yaml().is_file())
        .map(|dir| Orphan {
            record: OwnerRecord::read(&dir).ok().flatten(),
            dir,
        })
        .collect())
}

/// Recreates the object of an orphan. The folder stays as it is, and a VM that runs goes on running.
///
/// # Errors
/// The folder does not say what the object was, or the API server refused a call.
pub async fn adopt(
    client: &Client,
    orphan: &Orphan,
    is_running: bool,
) -> Result<LimaVM, AdoptError> {
    let name = orphan.dir.name();
    let record = match orphan.record.clone() {
        Some(record) => record,
        None => from_template(&orphan.dir, is_running)?,
    };
    let namespace = record.namespace.as_str();
    ensure_namespace(client, namespace).await?;
    let source = template_source(client, namespace, name, record.template).await?;
    let spec = LimaVMSpec {
        template_ref: TemplateRef {
            name: source.name_any(),
            namespace: None,
        },
        ..record.spec
    };
    let mut vm = LimaVM::new(name, spec);
    vm.metadata.annotations = Some(BTreeMap::from([(ADOPT.to_owned(), "true".to_owned())]));
    let vms: Api<LimaVM> = Api::namespaced(client.clone(), namespace);
    let params = PostParams::default();
    let created = vms.create(&params, &vm);
    let vm = call(|| format!("create LimaVM {namespace}/{name}"), created).await?;
    own(client, namespace, &source, &vm).await?;
    Ok(vm)
}

/// What an older rdd left: the template with all defaults filled in is used as the user's own.
fn from_template(dir: &InstanceDir, is_running: bool) -> Result<OwnerRecord, AdoptError> {
    let template =
        std::fs::read_to_string(dir.lima_yaml()).map_err(|error| AdoptError::NoTemplate {
            folder: dir.path().to_owned(),
            reason: error.to_string(),
        })?;
    // The folder has this template, so that a running VM is not restarted for it.
    let digest = files::digest(&template, &BTreeMap::new());
    files::write_mark(dir, &digest).map_err(|error| AdoptError::Folder {
        folder: dir.path().to_owned(),
        reason: error.to_string(),
    })?;
    Ok(OwnerRecord {
        cluster: None,
        namespace: "default".into(),
        uid: String::new(),
        template,
        spec: LimaVMSpec {
            running: is_running,
            ..LimaVMSpec::default()
        },
    })
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<(), CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let new = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    let params = PostParams::default();
    let created = api.create(&params, &new);
    match call(|| format!("create Namespace {name}"), created).await {
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// A ConfigMap with the template, from which the new object's own copy is made.
async fn template_source(
    client: &Client,
    namespace: &str,
    vm: &str,
    template: String,
) -> Result<ConfigMap, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let new = ConfigMap {
        metadata: ObjectMeta {
            generate_name: Some(format!("{vm}-adopted-")),
            ..Default::default()
        },
        data: Some(BTreeMap::from([(TEMPLATE_KEY.to_owned(), template)])),
        ..Default::default()
    };
    let params = PostParams::default();
    let created = api.create(&params, &new);
    let action =
        || format!("create a ConfigMap with the template of {vm} in namespace {namespace}");
    call(action, created).await
}

/// Makes the VM the owner of the ConfigMap, so that both are deleted together.
async fn own(
    client: &Client,
    namespace: &str,
    source: &ConfigMap,
    vm: &LimaVM,
) -> Result<(), CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = source.name_any();
    let owner = vm.controller_owner_ref(&());
    let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": [owner] } }));
    let params = PatchParams::default();
    let patched = api.patch(&name, &params, &patch);
    let action = || format!("make the LimaVM the owner of ConfigMap {namespace}/{name}");
    call_opt(action, patched).await.map(drop)
}

/// Adopts the VMs whose database is lost, and reports all other orphans. Called once the controller knows all objects.
pub(super) async fn adopt_lost(
    client: &Client,
    recorder: &Recorder,
    home: &LimaHome,
    cluster: Option<&String>,
) {
    let vms: Api<Decoded<LimaVM>> = Api::all(client.clone());
    let params = ListParams::default();
    let known = match call(|| "list LimaVMs".into(), vms.list(&params)).await {
        Ok(list) => list
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        Err(error) => {
            tracing::warn!("cannot look for VMs without an object: {error}");
            return;
        }
    };
    let found = match orphans(home, |name| known.iter().any(|known| known == name)) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("cannot look for VMs without an object: {error}");
            return;
        }
    };
    for orphan in found {
        let (name, folder) = (orphan.dir.name(), orphan.dir.path().display());
        let lost = orphan.record.as_ref().is_some_and(|record| {
            record.cluster.is_some() && cluster.is_some() && record.cluster.as_ref() != cluster
        });
        if !lost {
            tracing::warn!(
                "{folder} belongs to no LimaVM: take it over with `rdd limavm adopt {name}`, or delete it with `rdd limavm \
                 delete {name}`"
            );
            continue;
        }
        match adopt(client, &orphan, false).await {
            Ok(vm) => {
                let message = format!(
                    "the database that this VM was stored in is gone, so the LimaVM was recreated from {folder}; labels, \
                     annotations and restart count are lost"
                );
                tracing::warn!("adopted the VM {name:?}: {message}");
                recorder.record(reference(&vm), Severity::Warning, "Adopted", &message);
            }
            Err(error) => tracing::error!("cannot adopt the VM of {folder}: {error}"),
        }
    }
}
