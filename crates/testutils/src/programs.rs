//! A folder with the programs of this machine, but for some.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The programs that were left out of a folder.
#[derive(Debug)]
pub struct LeftOut(Vec<(PathBuf, PathBuf)>);

/// Links each program of the search path `path` into the folder `into`, but for those whose name `leave_out` chooses.
/// Of two programs with the same name the first one counts, as in a search. A folder of the path may not exist, and an
/// entry may be a link to nothing.
///
/// # Panics
/// A link cannot be made.
pub fn link_programs(path: &OsStr, into: &Path, leave_out: impl Fn(&str) -> bool) -> LeftOut {
    let mut left_out = Vec::new();
    for folder in std::env::split_paths(path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (program, link) = (entry.path(), into.join(entry.file_name()));
            if !program.is_file() {
                continue;
            }
            if leave_out(&entry.file_name().to_string_lossy()) {
                left_out.push((program, link));
            } else {
                link_unless_there(&program, &link);
            }
        }
    }
    LeftOut(left_out)
}

impl LeftOut {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Links what was left out, too.
    pub fn link(&self) {
        for (program, link) in &self.0 {
            link_unless_there(program, link);
        }
    }
}

fn link_unless_there(program: &Path, link: &Path) {
    // Not `exists`, which follows the link.
    if fs::symlink_metadata(link).is_err() {
        symlink(program, link).expect("a link to a program");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangling_links_of_one_name_in_two_folders_are_left_aside() {
        let root = tempfile::tempdir().expect("a folder");
        let [first, second, into] = ["first", "second", "into"].map(|name| root.path().join(name));
        for folder in [&first, &second, &into] {
            fs::create_dir(folder).expect("a folder");
        }
        for folder in [&first, &second] {
            symlink("nothing", folder.join("dangling")).expect("a link");
            fs::write(folder.join("qemu-x"), "").expect("a program");
            fs::write(folder.join("sh"), "").expect("a program");
        }
        let path =
            std::env::join_paths([&first, &root.path().join("missing"), &second]).expect("a path");
        let left_out = link_programs(&path, &into, |name| name.starts_with("qemu"));
        let linked = || {
            let mut names: Vec<_> = fs::read_dir(&into)
                .expect("the folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(linked(), ["sh"]);
        assert_eq!(
            fs::read_link(into.join("sh")).expect("a link"),
            first.join("sh")
        );
        assert!(!left_out.is_empty());
        left_out.link();
        assert_eq!(linked(), ["qemu-x", "sh"]);
    }
}
