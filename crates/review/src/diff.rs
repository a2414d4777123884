//! What changed between two commits: files from the raw listing, hunks from the patch.
//!
//! Both list the same files in the same order, so the patch's quoted names need not be understood.

/// Why a listing of changed files and its patch cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot understand what git printed for {what}: {reason}")]
pub struct DiffError {
    /// The git command.
    pub what: &'static str,
    /// What is unexpected in its output.
    pub reason: String,
}

/// How a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file is new.
    Added,
    /// Its content, or only its mode.
    Modified,
    /// The file was deleted.
    Deleted,
    /// The file was renamed, and possibly edited.
    Renamed,
}

/// Lines that changed. Lines count from 1; a length of 0 names the place after the line `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// First line at the base.
    pub old_start: u32,
    /// Lines at the base.
    pub old_length: u32,
    /// First line at the head.
    pub new_start: u32,
    /// Lines at the head.
    pub new_length: u32,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Path at the head (at the base, when deleted).
    pub path: String,
    /// Path at the base, when it is another.
    pub old_path: Option<String>,
    /// The kind of change.
    pub change: Change,
    /// What changed, without context. Empty for binary files.
    pub hunks: Vec<Hunk>,
    /// Lines of the head that the patch shows, context included: first and last of each piece.
    pub shown: Vec<(u32, u32)>,
    /// The mode at the head, such as `100755`; `120000` is a symbolic link, `160000` a submodule.
    pub mode: String,
}

impl ChangedFile {
    /// Whether line `line` of the head is one that the change wrote, or has a deletion right beside it.
    #[must_use]
    pub fn touches(&self, line: u32) -> bool {
        self.hunks.iter().any(|hunk| {
            if hunk.new_length == 0 {
                line == hunk.new_start || line == hunk.new_start + 1
            } else {
                (hunk.new_start..hunk.new_start + hunk.new_length).contains(&line)
            }
        })
    }

    /// Whether there is a file at the head, and it is an ordinary one.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.change != Change::Deleted && self.mode.starts_with("100")
    }
}

/// The whole change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In git's order.
    pub files: Vec<ChangedFile>,
    /// The patch with three lines of context, for the prompt.
    pub patch: String,
}

impl Diff {
    /// The entry of a path at the head.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ChangedFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Reads the `-z --raw` listing and the patch of one `git diff-tree`.
pub fn understand(raw: &[u8], patch: &[u8]) -> Result<Diff, DiffError> {
    let mut files = listed(raw)?;
    let mut patched = hunks(&String::from_utf8_lossy(patch)).into_iter();
    let short = || DiffError {
        what: "diff-tree -p",
        reason: "its files are not those of the list".to_owned(),
    };
    for (file, entries) in &mut files {
        for _ in 0..*entries {
            let (hunks, shown) = patched.next().ok_or_else(short)?;
            file.hunks.extend(hunks);
            file.shown.extend(shown);
        }
    }
    if patched.next().is_some() {
        return Err(short());
    }
    let files = files.into_iter().map(|(file, _)| file).collect();
    Ok(Diff {
        files,
        patch: String::from_utf8_lossy(patch).into_owned(),
    })
}

/// The files, each with the number of its entries in the patch.
fn listed(raw: &[u8]) -> Result<Vec<(ChangedFile, u32)>, DiffError> {
    let strange = |reason: &str| DiffError {
        what: "diff-tree --raw -z",
        reason: reason.to_owned(),
    };
    let mut result = Vec::new();
    let mut fields = fields(raw);
    while let Some(entry) = fields.next() {
        let mut words = entry.trim_start_matches(':').split(' ');
        let mode = words.nth(1).unwrap_or_default().to_owned();
        let status = words.next_back().unwrap_or_default();
        let first = fields
            .next()
            .ok_or_else(|| strange("an entry has no path"))?;
        let mut file = ChangedFile {
            path: first,
            old_path: None,
            change: Change::Modified,
            hunks: Vec::new(),
            shown: Vec::new(),
            mode,
        };
        let mut entries = 1;
        match status.chars().next() {
            // A file that became a link: the patch deletes the one and adds the other.
            Some('T') => entries = 2,
            Some('A') => file.change = Change::Added,
            Some('D') => file.change = Change::Deleted,
            Some('R' | 'C') => {
                let to = fields
                    .next()
                    .ok_or_else(|| strange("a rename has no second path"))?;
                file.change = Change::Renamed;
                file.old_path = Some(std::mem::replace(&mut file.path, to));
            }
            Some(_) => {}
            None => return Err(strange("an entry has no status")),
        }
        result.push((file, entries));
    }
    Ok(result)
}

/// The hunks of each file of a patch. Lines of a hunk are skipped by its counts, so that code is never taken for a
/// header.
fn hunks(patch: &str) -> Vec<Patched> {
    let mut files: Vec<Patched> = Vec::new();
    let mut old_left = 0u32;
    let mut new_left = 0u32;
    let mut at = (0u32, 0u32);
    for line in patch.split('\n') {
        if old_left > 0 || new_left > 0 {
            let Some((file, _)) = files.last_mut() else {
                break;
            };
            match line.as_bytes().first() {
                Some(b'-') => {
                    widen(file, at, true);
                    at.0 += 1;
                    old_left = old_left.saturating_sub(1);
                }
                Some(b'+') => {
                    widen(file, at, false);
                    at.1 += 1;
                    new_left = new_left.saturating_sub(1);
                }
                Some(b'\\') => {}
                _ => {
                    at.0 += 1;
                    at.1 += 1;
                    old_left = old_left.saturating_sub(1);
                    new_left = new_left.saturating_sub(1);
                }
            }
        } else if line.starts_with("diff --git ") {
            files.push(Default::default());
        } else if let Some(header) = line.strip_prefix("@@ -")
            && let Some((old, new)) = ranges(header)
        {
            at = (old.0, new.0);
            // An empty side names the line before the place.
            if old.1 == 0 {
                at.0 += 1;
            }
            if new.1 == 0 {
                at.1 += 1;
            }
            old_left = old.1;
            new_left = new.1;
            if let Some((_, shown)) = files.last_mut()
                && new.1 > 0
            {
                shown.push((new.0, new.0 + new.1 - 1));
            }
        }
    }
    // An empty side is named by the line before it, as git does with `-U0`.
    for hunk in files.iter_mut().flat_map(|(hunks, _)| hunks) {
        if hunk.new_length == 0 {
            hunk.new_start = hunk.new_start.saturating_sub(1);
        }
        if hunk.old_length == 0 {
            hunk.old_start = hunk.old_start.saturating_sub(1);
        }
    }
    files
}

/// Adds a removed or added line at `at` to the hunk that ends there, or begins one.
fn widen(file: &mut Vec<Hunk>, at: (u32, u32), removed: bool) {
    let grown = |hunk: &mut Hunk| {
        if removed {
            hunk.old_length += 1;
        } else {
            hunk.new_length += 1;
        }
    };
    if let Some(last) = file.last_mut()
        && last.old_start + last.old_length == at.0
        && last.new_start + last.new_length == at.1
    {
        grown(last);
        return;
    }
    let mut hunk = Hunk {
        old_start: at.0,
        old_length: 0,
        new_start: at.1,
        new_length: 0,
    };
    grown(&mut hunk);
    file.push(hunk);
}

type Range = (u32, u32);

/// A file's hunks, and the lines of the head that its patch shows.
type Patched = (Vec<Hunk>, Vec<Range>);

fn ranges(header: &str) -> Option<(Range, Range)> {
    let (old, rest) = header.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    Some((range(old)?, range(new)?))
}

fn range(text: &str) -> Option<Range> {
    match text.split_once(',') {
        Some((start, length)) => Some((start.parse().ok()?, length.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

/// The paths that a hand-written patch names in its headers, without `a/` and `b/`.
#[must_use]
pub fn parse_patch_paths(patch: &str) -> Vec<String> {
    let mut paths: Vec<String> = patch
        .lines()
        .filter_map(|line| {
            line.strip_prefix("+++ ")
                .or_else(|| line.strip_prefix("--- "))
        })
        .map(|name| name.split('\t').next().unwrap_or(name).trim())
        .filter(|name| *name != "/dev/null" && !name.is_empty())
        .map(|name| {
            name.strip_prefix("a/")
                .or_else(|| name.strip_prefix("b/"))
                .unwrap_or(name)
                .to_owned()
        })
        .collect();
    paths.dedup();
    paths
}

/// The fields of a `-z` listing. Names that are not UTF-8 are shown as far as they are.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes
        .split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
        .map(|field| String::from_utf8_lossy(field).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_exclude_context_lines() {
        let patch = "\
diff --git a/x b/x
--- a/x
+++ b/x
@@ -1,6 +1,6 @@
 one
-two
+TWO
 three
 four
-diff --git a/evil b/evil
+@@ -1,9 +1,9 @@
 six
diff --git a/y b/y
deleted file mode 100644
--- a/y
+++ /dev/null
@@ -1 +0,0 @@
-gone
diff --git a/bin b/bin
Binary files a/bin and b/bin differ
";
        let found = hunks(patch);
        assert_eq!(found.len(), 3);
        let hunk = |old_start, old_length, new_start, new_length| Hunk {
            old_start,
            old_length,
            new_start,
            new_length,
        };
        assert_eq!(
            found[0],
            (vec![hunk(2, 1, 2, 1), hunk(5, 1, 5, 1)], vec![(1, 6)])
        );
        assert_eq!(found[1], (vec![hunk(1, 1, 0, 0)], vec![]));
        assert_eq!(found[2], (vec![], vec![]));
    }
}
