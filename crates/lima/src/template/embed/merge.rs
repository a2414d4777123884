//! Merges a base template into the one that names it.

use std::cmp::Ordering;

use crate::template::tree::{Node, Value};
use crate::template::version;

/// Lists whose base entries come first: a base template's scripts run before those that build on it.
const BASE_FIRST: [&str; 2] = ["provision", "probes"];

/// Fills `template` with what it does not say, and appends the lists of `base` to its own. What `template` says stays, also
/// when it says `null`. Exceptions: `dns` is never mixed, and of two minimum versions the higher one counts.
pub(super) fn merge(template: &mut Node, mut base: Node) {
    if matches!(template.get("dns").map(|node| &node.value), Some(Value::List(list)) if !list.is_empty())
    {
        let _ = base.remove("dns");
    }
    for path in [
        &["minimumLimaVersion"][..],
        &["vmOpts", "qemu", "minimumVersion"],
    ] {
        let version = |root: &Node| {
            let node = path.iter().try_fold(root, |node, name| node.get(name))?;
            match &node.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            }
        };
        if let (Some(ours), Some(theirs)) = (version(template), version(&base))
            && version::compare(&theirs, &ours) == Ordering::Greater
            && let Some(node) = path
                .iter()
                .try_fold(&mut *template, |node, name| node.get_mut(name))
        {
            node.value = Value::Text(theirs);
        }
    }
    merge_maps(template, base, true);
    if let Some(Node {
        value: Value::List(types),
        ..
    }) = template.get_mut("mountTypesUnsupported")
    {
        let mut seen: Vec<String> = Vec::new();
        types.retain(|node| match &node.value {
            Value::Text(text) if seen.contains(text) => false,
            Value::Text(text) => {
                seen.push(text.clone());
                true
            }
            _ => true,
        });
    }
}

fn merge_maps(template: &mut Node, base: Node, top: bool) {
    let Value::Map(entries) = base.value else {
        return;
    };
    for (key, theirs) in entries {
        let Some(ours) = template.get_mut(&key.name) else {
            template.insert(key, theirs);
            continue;
        };
        match (&mut ours.value, theirs) {
            (Value::Map(_), theirs) => merge_maps(ours, theirs, false),
            (
                Value::List(list),
                Node {
                    value: Value::List(mut more),
                    ..
                },
            ) => {
                if top && BASE_FIRST.contains(&key.name.as_str()) {
                    more.append(list);
                    *list = more;
                } else {
                    list.append(&mut more);
                }
            }
            _ => {}
        }
    }
}
