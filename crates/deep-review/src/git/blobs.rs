//! Reads many files of a commit with one git command, without a checkout.

use review::files::Files;

use super::{Git, GitError};

impl Git {
    /// Reads the files of `commit` with one command. Missing paths and folders are recorded as missing.
    pub fn files<'a>(
        &self,
        commit: &str,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<Files, GitError> {
        let mut wanted: Vec<&str> = paths.into_iter().filter(|p| is_inside(p)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(Files::default());
        }
        let names: Vec<String> = wanted.iter().map(|p| format!("{commit}:{p}")).collect();
        let mut input = Vec::new();
        for name in &names {
            input.extend_from_slice(name.as_bytes());
            input.push(0);
        }
        let output = self
            .command(["cat-file", "--batch", "-z"])
            .input(input)
            .run()?
            .stdout;
        let mut rest: &[u8] = &output;
        let mut contents = Vec::with_capacity(wanted.len());
        for (path, name) in wanted.iter().zip(&names) {
            let (content, after) = one(rest, name)?;
            contents.push(((*path).to_owned(), content));
            rest = after;
        }
        Ok(contents.into_iter().collect())
    }
}

/// Returns whether git accepts the path: relative, without `..`, and not empty.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && !path.contains('\0')
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

type Entry<'a> = (Option<Vec<u8>>, &'a [u8]);

fn one<'a>(rest: &'a [u8], name: &str) -> Result<Entry<'a>, GitError> {
    let strange = |reason: &str| GitError::Output {
        what: "cat-file --batch",
        reason: format!("{reason} at {name:?}"),
    };
    // For a missing object git repeats its name, which may contain anything, even a line end.
    for word in [" missing\n", " ambiguous\n"] {
        let missing = format!("{name}{word}");
        if let Some(after) = rest.strip_prefix(missing.as_bytes()) {
            return Ok((None, after));
        }
    }
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| strange("no header"))?;
    let header = String::from_utf8_lossy(&rest[..end]);
    let mut words = header.split(' ').skip(1);
    let kind = words.next().unwrap_or_default();
    let size: usize = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| strange("no size"))?;
    let body = &rest[end + 1..];
    if body.len() < size + 1 {
        return Err(strange("cut short"));
    }
    let content = (kind == "blob").then(|| body[..size].to_vec());
    Ok((content, &body[size + 1..]))
}
