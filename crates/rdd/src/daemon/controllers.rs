//! Which controllers run: `--controllers`.

use std::collections::BTreeSet;

use anyhow::bail;

/// The controllers, each with the short name of its group.
const CONTROLLERS: [(&str, &str); 3] = [
    (api::lima::CONTROLLER, api::lima::SHORT_GROUP),
    (api::notary::CONTROLLER, api::rdd::SHORT_GROUP),
    (api::replica_set::CONTROLLER, api::rdd::SHORT_GROUP),
];

/// The known groups, including those that have no controllers yet.
const GROUPS: [&str; 3] = ["rdd", "lima", "app"];

/// The names of the controllers that a list asks for: `*` for all, an empty list for none, names or groups, `-name`
/// excludes. A list that only excludes begins with all.
pub(crate) fn enabled(list: &str) -> anyhow::Result<BTreeSet<String>> {
    let items: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    let all = || CONTROLLERS.iter().map(|(name, _)| (*name).to_owned());
    let mut chosen = BTreeSet::new();
    if items.contains(&"*") || (!items.is_empty() && items.iter().all(|item| item.starts_with('-')))
    {
        chosen.extend(all());
    }
    for item in items.iter().filter(|item| **item != "*") {
        let (excluded, name) = match item.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, *item),
        };
        let meant: Vec<&str> = CONTROLLERS
            .iter()
            .filter(|(known, group)| *known == name || *group == name)
            .map(|(known, _)| *known)
            .collect();
        if meant.is_empty() && !GROUPS.contains(&name) {
            let names: Vec<_> = all().collect();
            bail!(
                "unknown controller {name:?} in --controllers; the controllers are {}, the groups {}",
                names.join(", "),
                GROUPS.join(", ")
            );
        }
        for name in meant {
            if excluded {
                chosen.remove(name);
            } else {
                chosen.insert(name.to_owned());
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_choose_controllers() {
        let all = ["configmapreplicaset", "limavm", "notary"];
        let of_rdd = ["configmapreplicaset", "notary"];
        for (list, expected) in [
            ("*", &all[..]),
            ("", &[]),
            ("limavm", &["limavm"]),
            ("lima", &["limavm"]),
            ("rdd", &of_rdd),
            ("notary", &["notary"]),
            ("*,-lima", &of_rdd),
            ("-limavm", &of_rdd),
            ("-app", &all),
            (" lima , app ", &["limavm"]),
        ] {
            assert!(enabled(list).unwrap().iter().eq(expected), "{list:?}");
        }
        let error = enabled("nova").unwrap_err().to_string();
        assert!(
            error.contains("\"nova\"") && error.contains("limavm") && error.contains("app"),
            "{error}"
        );
    }
}
