//! `crates/xtask/known.toml`: what does not keep a rule yet. A crate that keeps the rule must be taken off its list, so that
//! the lists only become shorter.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// The file with the lists, from the top of the checkout.
pub(crate) const FILE: &str = "crates/xtask/known.toml";

/// The name of the Markdown pages, the Makefile and the scripts in the list of `prose`.
pub(crate) const PAGES: &str = "pages";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// Crates with an import circle.
    #[serde(default)]
    circles: BTreeSet<String>,
    /// Crates whose prose uses refused words.
    #[serde(default)]
    prose: BTreeSet<String>,
    /// Files that are too long.
    #[serde(default)]
    length: BTreeSet<String>,
}

/// A rule with a list of what breaks it.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Circles,
    Prose,
    Length,
}

impl Known {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("cannot read {FILE}"))
    }

    /// The problems of one crate or file, unless it is on the list of the rule; and the list's own problem when it is
    /// there without need.
    pub(crate) fn judge(&self, rule: Rule, name: &str, problems: Vec<String>) -> Vec<String> {
        let (list, key) = match rule {
            Rule::Circles => (&self.circles, "circles"),
            Rule::Prose => (&self.prose, "prose"),
            Rule::Length => (&self.length, "length"),
        };
        match (list.contains(name), problems.is_empty()) {
            (true, true) => vec![format!(
                "{FILE}: take {name} off the list `{key}`: it keeps the rule"
            )],
            (true, false) => Vec::new(),
            (false, _) => problems,
        }
    }

    /// Names on the list of a rule that are not among `names`.
    pub(crate) fn strangers<'a>(&'a self, rule: Rule, names: &[String]) -> Vec<String> {
        let (list, key): (&'a BTreeSet<String>, _) = match rule {
            Rule::Circles => (&self.circles, "circles"),
            Rule::Prose => (&self.prose, "prose"),
            Rule::Length => (&self.length, "length"),
        };
        list.iter()
            .filter(|name| !names.contains(name))
            .map(|name| format!("{FILE}: `{key}` names {name}, which does not exist"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_crate_is_excused_until_it_is_clean() {
        let known: Known = toml::from_str("circles = [\"old\"]").expect("TOML");
        let problem = || vec!["a circle".to_owned()];
        assert_eq!(known.judge(Rule::Circles, "old", problem()), [""; 0]);
        assert_eq!(known.judge(Rule::Circles, "new", problem()), ["a circle"]);
        let clean = known.judge(Rule::Circles, "old", Vec::new());
        assert!(clean[0].contains("take old off the list"), "{clean:?}");
        let gone = known.strangers(Rule::Circles, &["new".to_owned()]);
        assert!(gone[0].contains("old, which does not exist"), "{gone:?}");
    }
}
