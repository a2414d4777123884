//! Restores the configuration of analysers in a work tree to its state at the merge base.

use std::path::Path;

use review::diff::{ChangedFile, Diff};
use review::settings::{configures, is_manifest, with_lints_of};

use crate::git::{Git, GitError};

/// The configuration that a work tree needs so that analysers run as at the merge base: the content of each file, or
/// `None` for a file that the change adds.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    files: Vec<(String, Option<Vec<u8>>)>,
}

impl Settings {
    /// Reads the files that the change edits.
    pub fn read(git: &Git, base: &str, head: &str, diff: &Diff) -> Result<Self, GitError> {
        let names = |file: &ChangedFile| {
            let old = file.old_path.clone();
            std::iter::once(file.path.clone())
                .chain(old)
                .collect::<Vec<_>>()
        };
        let edited: Vec<String> = diff.files.iter().flat_map(names).collect();
        let wanted = edited
            .iter()
            .filter(|path| configures(path) || is_manifest(path));
        let wanted: Vec<&str> = wanted.map(String::as_str).collect();
        let before = git.files(base, wanted.iter().copied())?;
        let after = git.files(head, wanted.iter().copied())?;
        let mut files = Vec::new();
        for path in wanted {
            if configures(path) {
                files.push((path.to_owned(), before.bytes(path).map(<[u8]>::to_vec)));
            } else if let Some(head) = after.text(path) {
                let base = before.text(path).unwrap_or_default();
                let merged = with_lints_of(&base, &head);
                files.extend(merged.map(|text| (path.to_owned(), Some(text.into_bytes()))));
            }
        }
        Ok(Settings { files })
    }

    /// Returns whether the change leaves the configuration alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the files into a work tree. Links are replaced, never followed.
    pub fn restore(&self, work: &Path) -> std::io::Result<()> {
        for (path, content) in &self.files {
            let file = work.join(path);
            // A parent folder that is a link would lead out of the work tree.
            let mut above = work.to_path_buf();
            let parents = Path::new(path)
                .parent()
                .into_iter()
                .flat_map(Path::components);
            let linked = parents.into_iter().any(|part| {
                above.push(part);
                above.is_symlink()
            });
            if linked {
                continue;
            }
            match std::fs::symlink_metadata(&file) {
                Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(&file)?,
                Ok(_) => std::fs::remove_file(&file)?,
                Err(_) => {}
            }
            if let Some(content) = content {
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(&file, content)?;
            }
        }
        Ok(())
    }
}
