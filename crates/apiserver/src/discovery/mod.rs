//! What the server tells about itself: groups, resources, OpenAPI.

mod openapi;
pub(crate) mod types;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use openapi::{index, v2, v3};
use serde_json::{Value, json};

use crate::registry::{Registry, Resource, Resources, group_version};

/// Resources that are not stored: a POST is answered at once.
pub(crate) const REVIEWS: [(&str, &str, &str); 4] = [
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
    ),
];

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The versions of each group, the preferred one first; the core group has an empty name.
fn groups(resources: &Resources) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let reviews = REVIEWS
        .iter()
        .map(|(group, _, _)| (group.to_string(), "v1".to_owned()));
    let stored = resources
        .keys()
        .map(|(group, version, _)| (group.clone(), version.clone()));
    for (group, version) in stored.chain(reviews) {
        let versions = groups.entry(group).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    }
    groups
}

/// v2 > v1 > v1beta2 > v1alpha1 > anything else (Kubernetes' version priority).
fn rank(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let (stability, minor) = match &rest[digits..] {
            "" => (3, "0"),
            tail if tail.starts_with("beta") => (2, &tail[4..]),
            tail if tail.starts_with("alpha") => (1, &tail[5..]),
            _ => return None,
        };
        Some((stability, major, minor.parse().ok()?))
    };
    parse().unwrap_or_default()
}

fn in_version<'a>(
    resources: &'a Resources,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Arc<Resource>> {
    let here = move |r: &&Arc<Resource>| r.group == group && r.version == version;
    resources.values().filter(here)
}

fn reviews_in(group: &str, version: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let here = REVIEWS
        .into_iter()
        .filter(move |(g, _, _)| *g == group && version == "v1");
    here.map(|(_, plural, kind)| (plural, kind))
}

/// `/api`
pub(crate) fn api_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`
pub(crate) fn api_groups(registry: &Registry) -> Value {
    let resources = registry.all();
    let groups = groups(&resources);
    let groups = groups.iter().filter(|(name, _)| !name.is_empty());
    json!({
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": groups.map(|(name, versions)| group_value(name, versions)).collect::<Vec<_>>(),
    })
}

fn group_value(name: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    json!({
        "name": name,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

/// `/apis/GROUP`
pub(crate) fn api_group(registry: &Registry, group: &str) -> Option<Value> {
    let resources = registry.all();
    let groups = groups(&resources);
    let mut value = group_value(group, groups.get(group)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn api_resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let resources = registry.all();
    if !groups(&resources).get(group)?.iter().any(|v| v == version) {
        return None;
    }
    let mut list = Vec::new();
    for r in in_version(&resources, group, version) {
        let mut value = json!({
            "name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind,
            "verbs": VERBS, "storageVersionHash": "",
        });
        if !r.short_names.is_empty() {
            value["shortNames"] = json!(r.short_names);
        }
        if !r.categories.is_empty() {
            value["categories"] = json!(r.categories);
        }
        list.push(value);
        if r.status {
            list.push(json!({
                "name": format!("{}/status", r.plural), "singularName": "", "namespaced": r.namespaced,
                "kind": r.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    for (plural, kind) in reviews_in(group, version) {
        list.push(json!({
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind,
            "verbs": ["create"],
        }));
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": list,
    }))
}

/// The aggregated form of `/api` (`core`) and `/apis`: everything in one answer. `version` is `v2` or `v2beta1`.
pub(crate) fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let resources = registry.all();
    let mut items = Vec::new();
    for (group, versions) in groups(&resources)
        .iter()
        .filter(|(g, _)| g.is_empty() == core)
    {
        let versions: Vec<Value> = versions
            .iter()
            .map(|v| {
                let stored = in_version(&resources, group, v).map(|r| aggregated_resource(r));
                let reviews = reviews_in(group, v).map(|(plural, kind)| {
                    json!({
                        "resource": plural, "singularResource": kind.to_lowercase(), "scope": "Cluster",
                        "responseKind": {"group": group, "version": v, "kind": kind}, "verbs": ["create"],
                    })
                });
                let list: Vec<Value> = stored.chain(reviews).collect();
                json!({"version": v, "resources": list, "freshness": "Current"})
            })
            .collect();
        let metadata = match group.as_str() {
            "" => json!({}),
            name => json!({"name": name}),
        };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    })
}

fn aggregated_resource(r: &Resource) -> Value {
    let kind = json!({"group": r.group, "version": r.version, "kind": r.kind});
    let mut value = json!({
        "resource": r.plural, "singularResource": r.singular,
        "scope": if r.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": kind, "verbs": VERBS,
    });
    if !r.short_names.is_empty() {
        value["shortNames"] = json!(r.short_names);
    }
    if !r.categories.is_empty() {
        value["categories"] = json!(r.categories);
    }
    if r.status {
        value["subresources"] = json!([{"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]}]);
    }
    value
}
