//! Combines list entries that mean the same thing: disks of one name, mounts of one place, networks of one interface.
//!
//! An earlier entry takes from a later one what it does not say, and the later one goes. The key `*` means every entry
//! before it.

use crate::template::tree::{Key, Node, Value};

/// Combines the lists of a template whose bases are merged.
pub(super) fn entries(root: &mut Node) {
    combine(root, "additionalDisks", &["name"]);
    combine(root, "mounts", &["mountPoint", "location"]);
    combine(root, "networks", &["interface"]);
}

/// `keys`: the first of these fields that an entry has is its key.
fn combine(root: &mut Node, list: &str, keys: &[&str]) {
    let Some(Node {
        value: Value::List(entries),
        ..
    }) = root.get_mut(list)
    else {
        return;
    };
    let mut kept: Vec<Node> = Vec::new();
    for entry in std::mem::take(entries) {
        let key = key_of(&entry, keys);
        match key.as_deref() {
            Some("*") => kept
                .iter_mut()
                .for_each(|target| complete(target, &entry, keys)),
            Some(name) => {
                let earlier = kept
                    .iter_mut()
                    .find(|target| key_of(target, keys).as_deref() == Some(name));
                match earlier {
                    Some(target) => complete(target, &entry, keys),
                    None => kept.push(entry),
                }
            }
            None => kept.push(entry),
        }
    }
    *entries = kept;
}

fn key_of(entry: &Node, keys: &[&str]) -> Option<String> {
    // A disk may be written as its name alone.
    if let Value::Text(name) = &entry.value {
        return Some(name.clone());
    }
    keys.iter().find_map(|key| match &entry.get(key)?.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    })
}

/// Fills in what `target` does not say. Of `lima` and `socket`, which exclude each other, one is enough.
fn complete(target: &mut Node, entry: &Node, keys: &[&str]) {
    let Value::Map(fields) = &entry.value else {
        return;
    };
    if let Value::Text(name) = &target.value {
        let place = target.place;
        let key = Key {
            name: "name".to_owned(),
            place,
        };
        let name = Node::new(Value::Text(name.clone()), place);
        target.value = Value::Map(vec![(key, name)]);
    }
    let linked = target.get("lima").is_some() || target.get("socket").is_some();
    for (key, value) in fields {
        if keys.contains(&key.name.as_str()) || linked && matches!(&*key.name, "lima" | "socket") {
            continue;
        }
        match target.get_mut(&key.name) {
            None => target.insert(key.clone(), value.clone()),
            Some(nested) if matches!(nested.value, Value::Map(_)) => complete(nested, value, &[]),
            Some(_) => {}
        }
    }
}
