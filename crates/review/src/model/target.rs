//! The change that was reviewed.

use serde::{Deserialize, Serialize};

/// What was reviewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Names the target over rounds: `pr-350`, a branch, the patch's name.
    pub name: String,
    /// Remote repository, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The pinned commit.
    pub head: String,
    /// Merge base with the branch it is to land on.
    pub base: String,
    /// `sha subject`, oldest first.
    pub commits: Vec<String>,
    /// Changed files, sorted.
    pub files: Vec<String>,
    /// What the change is called: the pull request's title, the first commit's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The author of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Where people read the change: `https://…`. Other schemes are shown as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The changed files with their hunks, when the diff is known; a comment can only be on these lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FileChange>,
}

/// What the change does to one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Path at the head (at the base when it was deleted), with `/`.
    pub path: String,
    /// Path at the base, when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// The kind of change.
    #[serde(default)]
    pub kind: ChangeKind,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
    /// Lines of the head that the hunks show, first and last, context included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hunks: Vec<(u32, u32)>,
}

/// What can happen to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It exists only at the head.
    Added,
    /// It exists at the base and at the head.
    #[default]
    Modified,
    /// It does not exist at the head.
    Deleted,
    /// It is `old_path` at the base.
    Renamed,
}

/// Lines of a file at the head, to show a finding in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// Path from the top of the repository.
    pub path: String,
    /// The number of the first line, from 1.
    pub first: u32,
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// First and last line that the finding is about.
    pub focus: (u32, u32),
}

impl Excerpt {
    /// Cuts the lines `focus` (first and last, from 1) out of a file's text, with `margin` lines around them, and at
    /// most `longest` in all. `None` when the file has no such line.
    pub fn cut(
        path: &str,
        text: &str,
        focus: (u32, u32),
        margin: u32,
        longest: u32,
    ) -> Option<Self> {
        let first = focus.0.checked_sub(margin + 1).map_or(1, |n| n + 1);
        let last = focus
            .1
            .max(focus.0)
            .saturating_add(margin)
            .min(first.saturating_add(longest.max(1) - 1));
        let lines: Vec<String> = text
            .lines()
            .skip(first as usize - 1)
            .take((last - first) as usize + 1)
            .map(str::to_owned)
            .collect();
        let there = first as usize + lines.len() > focus.0 as usize && focus.0 > 0;
        there.then(|| Self {
            path: path.to_owned(),
            first,
            lines,
            focus: (focus.0, focus.1.max(focus.0)),
        })
    }
}
