//! No import circle between files of different folders. Files of one folder may need each other, because they are
//! halves of one idea; `x/mod.rs` and `x.rs` belong to the folder `x`.
//!
//! A file imports another one when it names a path (`use crate::…`, `super::…`, a path in an expression, a type or a
//! macro's arguments) that leads into the other's module. A name that a module only re-exports counts for the module
//! that re-exports it, because this is what the path says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::known::{Known, Rule};
use super::module_tree::ModuleTree;
use super::platform::Platform;
use crate::workspace;

/// The files that each file imports, each with the first line that does.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, usize>>;

pub(super) fn problems(
    root: &Path,
    crates: &[String],
    known: &Known,
) -> anyhow::Result<Vec<String>> {
    let mut problems = known.strangers(Rule::Circles, crates);
    for name in crates {
        let mut found = Vec::new();
        for file in roots(&root.join("crates").join(name))? {
            for platform in Platform::ALL {
                let imports = imports(&ModuleTree::read(&file, platform)?);
                found.extend(
                    circles(&imports)
                        .iter()
                        .map(|circle| describe(root, circle, &imports)),
                );
            }
        }
        // Most circles are the same on every platform.
        found.sort();
        found.dedup();
        problems.extend(known.judge(Rule::Circles, name, found));
    }
    Ok(problems)
}

/// The files that cargo compiles as the root of a crate: the library, programs, tests, benchmarks and examples.
fn roots(crate_folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut result = vec![
        crate_folder.join("src/lib.rs"),
        crate_folder.join("src/main.rs"),
    ];
    for folder in ["src/bin", "tests", "tests/bin", "benches", "examples"] {
        let folder = crate_folder.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                result.push(path);
            } else {
                result.push(path.join("main.rs"));
            }
        }
    }
    result.retain(|path| path.is_file());
    result.sort();
    Ok(result)
}

fn imports(tree: &ModuleTree) -> Imports {
    let modules = &tree.modules;
    let mut result = Imports::new();
    for (index, module) in modules.iter().enumerate() {
        for (path, line) in &module.paths {
            let Some(target) = target(tree, index, path) else {
                continue;
            };
            let target = &modules[target].file;
            if *target != module.file {
                result
                    .entry(module.file.clone())
                    .or_default()
                    .entry(target.clone())
                    .or_insert(*line);
            }
        }
    }
    result
}

/// The module into which a path in the module `from` leads; none when it leads out of the crate.
fn target(tree: &ModuleTree, from: usize, path: &[String]) -> Option<usize> {
    let modules = &tree.modules;
    let mut rest = path.iter().map(String::as_str);
    let first = rest.next()?;
    let mut here = match first {
        "crate" => 0,
        "self" => from,
        "super" => modules[from].parent?,
        name => *modules[from].children.get(name)?,
    };
    for segment in rest {
        let next = match segment {
            "super" => modules[here].parent,
            name => modules[here].children.get(name).copied(),
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    Some(here)
}

/// The sets of files that import each other, directly or not, and are in more than one folder.
fn circles(imports: &Imports) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = imports
        .keys()
        .map(|file| (file, reachable(imports, file)))
        .collect();
    let mut result: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, from_here) in &reached {
        let circle: BTreeSet<PathBuf> = from_here
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
            .map(|other| (*other).clone())
            .collect();
        let folders: BTreeSet<PathBuf> = circle.iter().map(|file| folder(file)).collect();
        if folders.len() > 1 && !result.contains(&circle) {
            result.push(circle);
        }
    }
    result
}

fn reachable<'a>(imports: &'a Imports, file: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&PathBuf> = imports
        .get(file)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            open.extend(imports.get(next).into_iter().flat_map(BTreeMap::keys));
        }
    }
    seen
}

/// The folder to which a file belongs: `x` for `x/mod.rs`, `x/y.rs`, and `x.rs` beside a folder `x`.
fn folder(file: &Path) -> PathBuf {
    let own = file.with_extension("");
    if own.is_dir() {
        return own;
    }
    file.parent().unwrap_or(file).to_owned()
}

/// One line for the circle, and one for each import in it that crosses a folder.
fn describe(root: &Path, circle: &BTreeSet<PathBuf>, imports: &Imports) -> String {
    let mut lines = vec![format!(
        "an import circle of {} files; the imports between its folders:",
        circle.len()
    )];
    for file in circle {
        for (target, line) in imports.get(file).into_iter().flatten() {
            if circle.contains(target) && folder(file) != folder(target) {
                lines.push(format!(
                    "  {}:{line} imports {}",
                    workspace::name(root, file),
                    workspace::name(root, target)
                ));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate with these files, and its circles as file names.
    fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let tree =
            ModuleTree::read(&folder.path().join("lib.rs"), Platform::Linux).expect("a tree");
        let found = circles(&imports(&tree));
        let names = |circle: &BTreeSet<PathBuf>| {
            circle
                .iter()
                .map(|file| workspace::name(folder.path(), file))
                .collect()
        };
        found.iter().map(names).collect()
    }

    #[test]
    fn files_of_different_folders_that_import_each_other_are_a_circle() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x;"),
            ("a/x.rs", "use crate::b::y::Y; pub struct X;"),
            ("b/mod.rs", "pub(crate) mod y;"),
            ("b/y.rs", "pub struct Y(crate::a::x::X);"),
        ]);
        assert_eq!(found, [["a/x.rs", "b/y.rs"]]);
    }

    #[test]
    fn circle_through_a_re_export_and_a_macro_is_found() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x; pub(crate) use x::X;"),
            (
                "a/x.rs",
                "fn f() { println!(\"{}\", crate::b::Y::new()); } pub struct X;",
            ),
            ("b.rs", "use super::a::{self, X};"),
        ]);
        assert_eq!(found, [["a/mod.rs", "a/x.rs", "b.rs"]]);
    }

    #[test]
    fn files_of_one_folder_may_import_each_other() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a/mod.rs",
                "mod x; use x::X; pub struct A; #[cfg(test)] mod tests { use super::A; }",
            ),
            ("a/x.rs", "pub(super) struct X(super::A);"),
            ("b.rs", "use crate::a::A;"),
        ]);
        assert_eq!(found, Vec::<Vec<String>>::new());
    }
}
