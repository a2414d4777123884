//! `rdd limavm create`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use api::lima::{TEMPLATE_KEY, TemplateRef, condition, reason};
use api::{LimaVM, LimaVMSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};

use super::greeting;
use super::session::Session;
use super::template::{self, Source};
use super::wait::{self, Goal};
use crate::exit::{Exit, Failure, message};
use crate::logging::RESULT;
use crate::service::client::refused;

/// The annotation of a ConfigMap that `create` made for a VM. Without an owner, it was left by a `create` that was killed.
const MADE_FOR: &str = "lima.rancherdesktop.io/made-for";

/// HTTP's "not found".
const NOT_FOUND: u16 = 404;
/// HTTP's "conflict": there is another object of that name.
const CONFLICT: u16 = 409;

/// The VM to create.
pub(crate) struct Wanted<'a> {
    /// The name of the VM.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Whether to start it.
    pub(crate) start: bool,
    /// Whether to check everything without creating anything.
    pub(crate) dry_run: bool,
}

/// Creates the VM. A template that is no ConfigMap is stored in one.
pub(crate) async fn run(
    session: &Session<'_>,
    wanted: &Wanted<'_>,
    source: &Source,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    let client = &session.client;
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), wanted.namespace);
    let made = match source {
        Source::ConfigMap(_) => None,
        Source::Text { text, origin } => {
            Some(make_template(&config_maps, wanted, text, origin).await?)
        }
    };
    let template = match (source, &made) {
        (Source::ConfigMap(name), _) => name.clone(),
        (Source::Text { .. }, Some(made)) => made.name_any(),
        (Source::Text { .. }, None) => bail!("the template was not stored"),
    };
    process::crash::point("create.after-config-map");
    let created = make_vm(client, wanted, &template, source).await;
    process::crash::point("create.after-object");
    if let Some(made) = &made {
        match &created {
            Ok(vm) if !wanted.dry_run => own(&config_maps, made, vm).await?,
            _ => remove_template(&config_maps, made).await,
        }
    }
    process::crash::point("create.after-owner");
    let vm = created?;
    let name = wanted.name;
    if wanted.dry_run {
        info!(target: RESULT, "LimaVM {name:?} would be created in namespace {:?} (dry run)", wanted.namespace);
        return Ok(());
    }
    info!(target: RESULT, "LimaVM {name:?} created in namespace {:?}", wanted.namespace);
    if let Some(deadline) = deadline {
        let goal = if wanted.start {
            Goal::Started
        } else {
            Goal::Created
        };
        let reached = match wait::until(session, &vm, goal, deadline).await {
            Ok(reached) => reached,
            Err(error) => return Err(after_failure(session, &vm, error).await),
        };
        if wanted.start {
            // Notes on the template are shown here once, and not at each later start.
            let note = reached
                .as_ref()
                .and_then(|vm| vm.condition(condition::RUNNING))
                .map(|running| running.message.as_str())
                .filter(|message| !message.is_empty());
            match note {
                Some(note) => info!(target: RESULT, "LimaVM {name:?} has started: {note}"),
                None => info!(target: RESULT, "LimaVM {name:?} has started"),
            }
            for line in greeting::lines(session.context, name) {
                info!(target: RESULT, "{line}");
            }
        }
    }
    Ok(())
}

/// How long the removal of a VM without files may take. There is no process to stop.
const REMOVAL: Duration = Duration::from_secs(30);

/// Removes a VM whose files could not be made, so that the same command works once the cause is gone. A VM that could not
/// be started is kept, so that its user can examine it.
async fn after_failure(session: &Session<'_>, vm: &LimaVM, error: anyhow::Error) -> anyhow::Error {
    // After a timeout there is no time left for requests.
    if Exit::of(&error) != Exit::Error {
        return error;
    }
    let api = session.api_of(vm);
    let name = vm.name_any();
    let Ok(Some(now)) = api.get_opt(&name).await else {
        return error;
    };
    let reason_of = |kind: &str| now.condition(kind).map(|found| found.reason.clone());
    if reason_of(condition::CREATED).as_deref() == Some(reason::CREATE_FAILED) {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: vm.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let removed = match api.delete(&name, &parameters).await {
            Ok(_) => wait::until(session, &now, Goal::Deleted, Instant::now() + REMOVAL)
                .await
                .map(|_| ()),
            Err(error) => Err(refused(error)),
        };
        return match removed {
            Ok(()) => {
                anyhow::anyhow!(
                    "{}; nothing of it was kept",
                    wait::without_retry(&message(&error))
                )
            }
            Err(left) => anyhow::anyhow!(
                "{}; and it could not be removed again: {}",
                message(&error),
                message(&left)
            ),
        };
    }
    if reason_of(condition::RUNNING).as_deref() == Some(reason::START_FAILED) {
        return anyhow::anyhow!(
            "{}; the VM was created, `rdd limavm start {name}` tries it again at once",
            message(&error)
        );
    }
    error
}

async fn make_vm(
    client: &Client,
    wanted: &Wanted<'_>,
    template: &str,
    source: &Source,
) -> anyhow::Result<LimaVM> {
    let spec = LimaVMSpec {
        template_ref: TemplateRef {
            name: template.to_owned(),
            namespace: None,
        },
        running: wanted.start,
        params: BTreeMap::new(),
        stop: None,
    };
    let vm = LimaVM::new(wanted.name, spec);
    let parameters = PostParams {
        dry_run: wanted.dry_run,
        ..PostParams::default()
    };
    let created = Api::<LimaVM>::namespaced(client.clone(), wanted.namespace)
        .create(&parameters, &vm)
        .await;
    created.map_err(|error| {
        let error = refused(error);
        match source {
            Source::ConfigMap(name) if std::path::Path::new(name).is_file() => error.context(format!(
                "{name} was taken for the name of a ConfigMap; to use the file of that name, write ./{name}"
            )),
            Source::ConfigMap(name) if template::is_built_in(name) => error.context(format!(
                "{name} was taken for the name of a ConfigMap; to use the template of that name that rdd brings along, \
                 write template://{name}"
            )),
            Source::Text { origin, .. } => error.context(format!("cannot create LimaVM {:?} from {origin}", wanted.name)),
            Source::ConfigMap(_) => error.context(format!("cannot create LimaVM {:?}", wanted.name)),
        }
    })
}

/// Stores the template as a ConfigMap of the VM's name; for a dry run under an unused name.
async fn make_template(
    config_maps: &Api<ConfigMap>,
    wanted: &Wanted<'_>,
    text: &str,
    origin: &str,
) -> anyhow::Result<ConfigMap> {
    let mut metadata = ObjectMeta {
        labels: Some(BTreeMap::from([(
            MADE_FOR.to_owned(),
            wanted.name.to_owned(),
        )])),
        ..ObjectMeta::default()
    };
    if wanted.dry_run {
        metadata.generate_name = Some(format!("{}-dry-run-", wanted.name));
    } else {
        metadata.name = Some(wanted.name.to_owned());
        remove_left_over(config_maps, wanted.name, origin).await?;
    }
    let config_map = ConfigMap {
        metadata,
        data: Some(BTreeMap::from([(TEMPLATE_KEY.to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    };
    config_maps
        .create(&PostParams::default(), &config_map)
        .await
        .map_err(|error| {
            refused(error).context(format!(
                "cannot store the template {origin} as ConfigMap {:?}",
                wanted.name
            ))
        })
}

/// Removes the ConfigMap of an earlier `create` that was killed before it created the VM.
async fn remove_left_over(
    config_maps: &Api<ConfigMap>,
    name: &str,
    origin: &str,
) -> anyhow::Result<()> {
    let Some(left) = config_maps.get_opt(name).await.map_err(refused)? else {
        return Ok(());
    };
    let is_ours = left
        .labels()
        .get(MADE_FOR)
        .is_some_and(|made_for| made_for == name);
    if is_ours && left.owner_references().is_empty() {
        remove_template(config_maps, &left).await;
        return Ok(());
    }
    if is_ours {
        // The ConfigMap is removed with the VM that owns it, so do not advise to delete it.
        return Err(Failure::rejected(format!(
            "cannot create LimaVM {name:?} from {origin}: the name is already used; choose another, or remove that VM \
             first with `rdd limavm delete {name}`"
        ))
        .into());
    }
    bail!(
        "ConfigMap {name:?} exists in namespace {:?} and would be overwritten; delete it, or choose another name for the VM",
        left.namespace().unwrap_or_default()
    )
}

/// Makes the VM the owner of its ConfigMap, so that the garbage collector removes it with the VM.
async fn own(config_maps: &Api<ConfigMap>, made: &ConfigMap, vm: &LimaVM) -> anyhow::Result<()> {
    let owner = vm.controller_owner_ref(&());
    let patch = json!({ "metadata": { "uid": made.uid(), "ownerReferences": [owner] } });
    let patched = config_maps
        .patch(
            &made.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
    match patched {
        Ok(_) => Ok(()),
        // Another `create` of the same name removed it as left over. The VM has a copy of the template.
        Err(kube::Error::Api(status)) if matches!(status.code, NOT_FOUND | CONFLICT) => Ok(()),
        Err(error) => Err(refused(error).context(format!(
            "cannot make LimaVM {:?} the owner of its template",
            vm.name_any()
        ))),
    }
}

async fn remove_template(config_maps: &Api<ConfigMap>, made: &ConfigMap) {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: made.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    if let Err(error) = config_maps.delete(&made.name_any(), &parameters).await {
        warn!(
            "cannot remove ConfigMap {:?}, which was made for the VM: {error}",
            made.name_any()
        );
    }
}
