//! Finds and reads the files that the user names: reviews and reports.

use std::path::{Path, PathBuf};

use review::import::Input;
use review::parse;

/// Why the files cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A file or folder that cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file of more than [`parse::LARGEST`] bytes.
    #[error("{path} has {bytes} bytes, more than the {max} that are read", max = parse::LARGEST)]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The size in bytes.
        bytes: u64,
    },
    /// More files than [`MOST_FILES`].
    #[error("{path} holds more than {MOST_FILES} files; name the reviews")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// No file at all.
    #[error(
        "there is no review in {paths}: no file that ends in .md, .markdown, .txt, .json, .jsonl, .sarif or .xml"
    )]
    Nothing {
        /// The paths that were searched.
        paths: String,
    },
}

/// The largest number of files that one import reads.
const MOST_FILES: usize = 10_000;

/// The greatest depth to which folders are searched.
const DEEPEST: usize = 8;

const SUFFIXES: [&str; 7] = ["md", "markdown", "txt", "json", "jsonl", "sarif", "xml"];

/// Returns the files that may be reviews, with folders searched, sorted by path.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut result = Vec::new();
    for top in paths {
        let mut open = vec![(top.clone(), 0)];
        let mut found = Vec::new();
        while let Some((path, depth)) = open.pop() {
            let read = |source| InputError::Read {
                path: path.clone(),
                source,
            };
            if std::fs::metadata(&path).map_err(read)?.is_dir() {
                if depth >= DEEPEST {
                    continue;
                }
                for entry in std::fs::read_dir(&path).map_err(read)? {
                    let entry = entry.map_err(read)?;
                    let hidden = entry.file_name().to_string_lossy().starts_with('.');
                    let file_type = entry.file_type().map_err(read)?;
                    // Links are skipped, because they could lead out of the folder or form a loop.
                    if !hidden && (file_type.is_dir() || file_type.is_file()) {
                        open.push((entry.path(), depth + 1));
                    }
                }
            } else if depth == 0 || has_suffix(&path) {
                found.push(path);
            }
            if found.len() > MOST_FILES {
                return Err(InputError::TooMany { path: top.clone() });
            }
        }
        found.sort();
        result.extend(found);
    }
    if result.is_empty() {
        let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(InputError::Nothing {
            paths: paths.join(", "),
        });
    }
    Ok(result)
}

fn has_suffix(path: &Path) -> bool {
    path.extension()
        .and_then(|s| s.to_str())
        .is_some_and(|s| SUFFIXES.contains(&s.to_ascii_lowercase().as_str()))
}

/// Reads a file, up to [`parse::LARGEST`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    let error = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(error)?.len();
    if bytes > parse::LARGEST as u64 {
        return Err(InputError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    std::fs::read(path).map_err(error)
}

/// Reads all files below `paths`. An empty list gives no files.
pub fn all(paths: &[PathBuf]) -> Result<Vec<Input>, InputError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let read = |path: PathBuf| {
        let bytes = read(&path)?;
        Ok(Input { path, bytes })
    };
    files(paths)?.into_iter().map(read).collect()
}
