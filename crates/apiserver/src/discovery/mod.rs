//! What the server tells clients about itself: groups, kinds and their verbs, OpenAPI.

mod openapi;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use openapi::{index, v2, v3};
use serde_json::{Value, json};

use crate::{
    access::review::{self, REVIEWS, Review},
    kinds::{
        catalog::Catalog,
        kind::{Kind, Kinds, Verb, group_version},
    },
};

fn names(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.name()).collect()
}

/// Returns the versions of each group, the preferred one first. The core group has an empty name.
fn groups(kinds: &Kinds) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let reviews = REVIEWS
        .iter()
        .map(|review| (review.group.to_owned(), review::VERSION.to_owned()));
    let stored = kinds
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
    kinds: &'a Kinds,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Arc<Kind>> {
    let here = move |kind: &&Arc<Kind>| kind.group == group && kind.version == version;
    kinds.values().filter(here)
}

fn reviews_in<'a>(group: &'a str, version: &str) -> impl Iterator<Item = &'static Review> + 'a {
    let served = version == review::VERSION;
    REVIEWS
        .iter()
        .filter(move |review| served && review.group == group)
}

/// Answers `/api`.
pub(crate) fn api_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// Answers `/apis`.
pub(crate) fn api_groups(catalog: &Catalog) -> Value {
    let kinds = catalog.all();
    let groups = groups(&kinds);
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

/// Answers `/apis/GROUP`.
pub(crate) fn api_group(catalog: &Catalog, group: &str) -> Option<Value> {
    let kinds = catalog.all();
    let groups = groups(&kinds);
    let mut value = group_value(group, groups.get(group)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// Answers `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn api_resources(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let kinds = catalog.all();
    if !groups(&kinds).get(group)?.iter().any(|v| v == version) {
        return None;
    }
    let mut list = Vec::new();
    for kind in in_version(&kinds, group, version) {
        let mut value = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.name,
            "verbs": names(kind.verbs), "storageVersionHash": "",
        });
        if !kind.short_names.is_empty() {
            value["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            value["categories"] = json!(kind.categories);
        }
        list.push(value);
        list.extend(kind.subresources.iter().map(|subresource| {
            json!({
                "name": format!("{}/{}", kind.plural, subresource.name()), "singularName": "",
                "namespaced": kind.namespaced, "kind": kind.name, "verbs": names(subresource.verbs()),
            })
        }));
    }
    list.extend(reviews_in(group, version).map(|review| {
        json!({
            "name": review.plural, "singularName": review.kind.to_lowercase(), "namespaced": false,
            "kind": review.kind, "verbs": ["create"],
        })
    }));
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": list,
    }))
}

/// Answers `/api` (`core`) and `/apis` in the aggregated form, which holds all kinds. `version` is `v2` or `v2beta1`.
pub(crate) fn aggregated(catalog: &Catalog, core: bool, version: &str) -> Value {
    let kinds = catalog.all();
    let mut items = Vec::new();
    for (group, versions) in groups(&kinds).iter().filter(|(g, _)| g.is_empty() == core) {
        let versions: Vec<Value> = versions
            .iter()
            .map(|v| {
                let stored = in_version(&kinds, group, v).map(|kind| aggregated_kind(kind));
                let reviews = reviews_in(group, v).map(|review| {
                    let (name, singular) = (review.kind, review.kind.to_lowercase());
                    json!({
                        "resource": review.plural, "singularResource": singular, "scope": "Cluster",
                        "responseKind": {"group": group, "version": v, "kind": name}, "verbs": ["create"],
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

fn aggregated_kind(kind: &Kind) -> Value {
    let response = json!({"group": kind.group, "version": kind.version, "kind": kind.name});
    let mut value = json!({
        "resource": kind.plural, "singularResource": kind.singular,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": response, "verbs": names(kind.verbs),
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        let subresources = kind.subresources.iter().map(|subresource| {
            let verbs = names(subresource.verbs());
            json!({"subresource": subresource.name(), "responseKind": response, "verbs": verbs})
        });
        value["subresources"] = subresources.collect();
    }
    value
}
