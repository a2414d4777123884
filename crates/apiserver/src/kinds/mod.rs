//! Kubernetes' own kinds that are served, each with its strategy.

pub(crate) mod configmaps;
pub(crate) mod definitions;
pub(crate) mod events;
pub(crate) mod namespaces;
pub(crate) mod secrets;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    discovery::types,
    registry::{Cell, Column, Resource, Resources, Strategy},
    schema,
};

fn column(name: &str, kind: &str, cell: Cell) -> Column {
    Column {
        name: name.into(),
        kind: kind.into(),
        format: if matches!(cell, Cell::Name) {
            "name".into()
        } else {
            String::new()
        },
        description: String::new(),
        priority: 0,
        cell,
    }
}

fn name_column() -> Column {
    column("Name", "string", Cell::Name)
}

fn age_column() -> Column {
    column(
        "Age",
        "string",
        Cell::AgeOf(vec![".metadata.creationTimestamp".into()]),
    )
}

fn path_column(name: &str, path: &str) -> Column {
    column(name, "string", Cell::Path(path.into()))
}

/// A built-in resource; its schema comes from k8s-openapi when it is first needed.
fn built_in(
    group: &str,
    version: &str,
    plural: &str,
    kind: &str,
    strategy: Arc<dyn Strategy>,
) -> Resource {
    let (group_of_schema, kind_of_schema) = (group.to_owned(), kind.to_owned());
    let make_schema = move || {
        let (name, definitions) = types::definitions(&group_of_schema, &kind_of_schema)?;
        let root = definitions.get(name)?;
        match schema::compile_with_definitions(root, &definitions) {
            Ok(schema) => Some(schema),
            Err((path, why)) => {
                tracing::error!(
                    kind = kind_of_schema,
                    path,
                    why,
                    "a built-in schema does not compile"
                );
                None
            }
        }
    };
    let mut resource = Resource::new(group, version, plural, kind, Box::new(make_schema));
    resource.strategy = strategy;
    resource
}

fn count_data(object: &Value) -> Value {
    let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    json!(count("data") + count("binaryData"))
}

/// All of them.
pub(crate) fn all(protected: Arc<[String]>) -> Resources {
    let plain: Arc<dyn Strategy> = Arc::new(crate::registry::Plain);

    let mut config_maps = built_in(
        "",
        "v1",
        "configmaps",
        "ConfigMap",
        Arc::new(configmaps::ConfigMaps),
    );
    config_maps.short_names = vec!["cm".into()];
    config_maps.columns = vec![
        name_column(),
        column("Data", "string", Cell::Made(count_data)),
        age_column(),
    ];

    let mut secrets = built_in("", "v1", "secrets", "Secret", Arc::new(secrets::Secrets));
    secrets.columns = vec![
        name_column(),
        path_column("Type", ".type"),
        column("Data", "string", Cell::Made(count_data)),
        age_column(),
    ];

    let strategy = Arc::new(namespaces::Namespaces { protected });
    let mut namespaces = built_in("", "v1", "namespaces", "Namespace", strategy);
    namespaces.short_names = vec!["ns".into()];
    namespaces.namespaced = false;
    namespaces.status = true;
    namespaces.columns = vec![
        name_column(),
        path_column("Status", ".status.phase"),
        age_column(),
    ];

    let mut accounts = built_in(
        "",
        "v1",
        "serviceaccounts",
        "ServiceAccount",
        Arc::clone(&plain),
    );
    accounts.short_names = vec!["sa".into()];
    accounts.columns = vec![
        name_column(),
        column("Secrets", "string", Cell::Made(|_| json!(0))),
        age_column(),
    ];

    let mut leases = built_in("coordination.k8s.io", "v1", "leases", "Lease", plain);
    leases.columns = vec![
        name_column(),
        path_column("Holder", ".spec.holderIdentity"),
        age_column(),
    ];

    let mut events = built_in("", "v1", "events", "Event", Arc::new(events::Events));
    events.short_names = vec!["ev".into()];
    events.columns = events::columns();

    let strategy = Arc::new(events::NewEvents);
    let mut new_events = built_in("events.k8s.io", "v1", "events", "Event", strategy);
    new_events.short_names = vec!["ev".into()];
    new_events.columns = events::new_columns();
    new_events.view = Some(events::view());

    let group = "apiextensions.k8s.io";
    let mut crds = built_in(
        group,
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        Arc::new(definitions::Definitions),
    );
    crds.short_names = vec!["crd".into(), "crds".into()];
    crds.categories = vec!["api-extensions".into()];
    crds.namespaced = false;
    crds.status = true;
    crds.generation = true;
    crds.columns = vec![
        name_column(),
        path_column("Created At", ".metadata.creationTimestamp"),
    ];

    [
        config_maps,
        secrets,
        namespaces,
        accounts,
        leases,
        events,
        new_events,
        crds,
    ]
    .into_iter()
    .map(|r| {
        (
            (r.group.clone(), r.version.clone(), r.plural.clone()),
            Arc::new(r),
        )
    })
    .collect()
}
