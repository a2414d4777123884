//! The names of a CustomResourceDefinition: accepted, unless another kind of the group has them (Kubernetes: the
//! `NamingConditionController`).

use serde_json::{Map, Value};

use super::kind::{Kind, Kinds, SchemaSource};

/// The outcome of the check.
pub(super) struct Accepted {
    /// The names without those that are taken (`status.acceptedNames`).
    pub(super) names: Value,
    /// The reason and the message of the first conflict.
    pub(super) conflict: Option<(&'static str, String)>,
}

/// Checks the names of a definition against all other kinds of its group.
pub(super) fn check(definition: &Value, kinds: &Kinds) -> Accepted {
    let spec = &definition["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let plural = spec["names"]["plural"].as_str().unwrap_or_default();
    let is_own =
        |kind: &Kind| kind.plural == plural && matches!(kind.schema, SchemaSource::Custom(_));
    let others: Vec<&Kind> = kinds
        .values()
        .map(AsRef::as_ref)
        .filter(|kind| kind.group == group && !is_own(kind))
        .collect();
    let resource_taken = |name: &str| {
        others.iter().any(|kind| {
            kind.plural == name
                || kind.singular == name
                || kind.short_names.iter().any(|short| short == name)
        })
    };
    let kind_taken = |name: &str| {
        others
            .iter()
            .any(|kind| kind.name == name || kind.list_name == name)
    };
    let mut conflict = None;
    let mut names = spec["names"].as_object().cloned().unwrap_or_default();
    let mut refuse = |reason: &'static str, name: &str| {
        let message = format!("{name:?} is already in use");
        conflict.get_or_insert((reason, message));
    };
    for (field, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
    ] {
        drop_taken(&mut names, field, &resource_taken, |name| {
            refuse(reason, name);
        });
    }
    if let Some(short) = names.get_mut("shortNames").and_then(Value::as_array_mut) {
        short.retain(|name| {
            let name = name.as_str().unwrap_or_default();
            let taken = resource_taken(name);
            if taken {
                refuse("ShortNamesConflict", name);
            }
            !taken
        });
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        drop_taken(&mut names, field, &kind_taken, |name| refuse(reason, name));
    }
    Accepted {
        names: Value::Object(names),
        conflict,
    }
}

/// Empties the name in `field` if it is taken; Kubernetes requires the fields, so they stay.
fn drop_taken(
    names: &mut Map<String, Value>,
    field: &str,
    taken: &dyn Fn(&str) -> bool,
    refuse: impl FnOnce(&str),
) {
    if let Some(Value::String(name)) = names.get_mut(field)
        && taken(name)
    {
        refuse(name);
        name.clear();
    }
}
