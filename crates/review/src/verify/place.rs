//! Which file of the repository a reviewer means.

use std::path::Path;

use crate::diff::Diff;

/// The path from the top of the repository: reviewers print absolute paths of their work tree, and `./`.
#[must_use]
pub fn inside(path: &str, roots: &[&Path]) -> String {
    let path = path.trim();
    let path = path.strip_prefix("file://").unwrap_or(path);
    for root in roots {
        let root = root.to_string_lossy();
        if let Some(rest) = path.strip_prefix(root.as_ref())
            && let Some(rest) = rest.strip_prefix('/')
        {
            return rest.trim_start_matches("./").to_owned();
        }
    }
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    path.to_owned()
}

/// All files at a commit.
pub struct Tree {
    paths: Vec<String>,
}

impl FromIterator<String> for Tree {
    fn from_iter<T: IntoIterator<Item = String>>(paths: T) -> Self {
        Tree {
            paths: paths.into_iter().collect(),
        }
    }
}

impl Tree {
    /// The one file whose path ends like this, or that this ends like; a changed file before any other.
    #[must_use]
    pub fn find(&self, path: &str, diff: &Diff) -> Option<String> {
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return None;
        }
        let ends = |full: &str| {
            full == path
                || full
                    .strip_suffix(path)
                    .is_some_and(|rest| rest.ends_with('/'))
                || path
                    .strip_suffix(full)
                    .is_some_and(|rest| rest.ends_with('/'))
        };
        let changed = diff.files.iter().map(|file| file.path.as_str());
        only(changed.filter(|full| ends(full)))
            .or_else(|| {
                only(
                    self.paths
                        .iter()
                        .map(String::as_str)
                        .filter(|full| ends(full)),
                )
            })
            .map(str::to_owned)
    }
}

fn only<'a>(mut found: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_becomes_relative_to_repository() {
        let root = Path::new("/w/x");
        for (said, meant) in [
            ("/w/x/src/a.rs", "src/a.rs"),
            ("./src/a.rs", "src/a.rs"),
            ("file:///w/x/a", "a"),
            ("/w/xy/a", "/w/xy/a"),
        ] {
            assert_eq!(inside(said, &[root]), meant);
        }
    }

    #[test]
    fn shortened_path_is_completed_if_unambiguous() {
        let tree = Tree {
            paths: ["src/a/mod.rs", "src/b/mod.rs", "src/main.rs"]
                .map(str::to_owned)
                .to_vec(),
        };
        let diff = Diff::default();
        assert_eq!(tree.find("main.rs", &diff).as_deref(), Some("src/main.rs"));
        assert_eq!(
            tree.find("repo/src/main.rs", &diff).as_deref(),
            Some("src/main.rs")
        );
        assert_eq!(tree.find("mod.rs", &diff), None);
        assert_eq!(tree.find("in.rs", &diff), None);
    }
}
