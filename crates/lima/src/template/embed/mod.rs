//! Makes a template complete by itself: its `base:` templates are merged into it, and its `file:` scripts become text.
//!
//! The rules are those of `limactl template copy --embed-all` (`pkg/limatmpl/embed.go`):
//!
//! ```text
//! template ─ absolute locators ─ scripts ─┐
//! base[0] ─ the same, recursively ────────┴ merge ─ base[1] … ─ combine entries with one key ─ YAML
//! ```
//!
//! Nothing is read here: the caller's [`Loader`] reads files, URLs and the templates of the program. A template from the
//! network may not name files of this machine, see [`LocalFiles`]; its base templates inherit that.

mod combine;
mod local_files;
mod locator;
mod merge;
mod scalars;

use std::collections::BTreeSet;

use super::parse::{ParseError, root_of};
use super::tree::{Key, Node, Value};
use super::write::WriteError;
use crate::image::{Digest, DigestError};
pub use local_files::LocalFiles;
use locator::Locator;

/// Templates below templates. Lima's own go three levels down.
const DEPTH_LIMIT: usize = 16;
/// Templates and scripts that one template may pull in.
const FILES_LIMIT: usize = 128;
/// Bytes of all of them together, as in Lima.
const TOTAL_LIMIT: usize = 4 << 20;

/// Reads templates and scripts.
pub trait Loader {
    /// The text behind an absolute locator: a path, `file://…`, `http(s)://…` or `template:NAME`.
    ///
    /// # Errors
    /// The reason, for a message that names the locator already.
    fn load(&self, locator: &str) -> Result<String, String>;
}

/// A template cannot be completed.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// A template is not one.
    #[error("{locator}: {source}")]
    Parse {
        /// The template.
        locator: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A base template or a script cannot be read.
    #[error("cannot read {locator}, which {parent} names as {field}: {reason}")]
    Load {
        /// The file or URL.
        locator: String,
        /// The template that names it.
        parent: String,
        /// The field, such as `base[0]`.
        field: String,
        /// Why not.
        reason: String,
    },
    /// A locator that leads nowhere.
    #[error("{parent}: {field}: {locator:?} {reason}")]
    Locator {
        /// The locator as written.
        locator: String,
        /// The template that names it.
        parent: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A template that is reached twice.
    #[error("{parent}: {field}: the template {locator} is included already; remove one of the two")]
    Repeated {
        /// The template.
        locator: String,
        /// The template that names it once more.
        parent: String,
        /// The field.
        field: String,
    },
    /// More than the limits allow.
    #[error("{parent}: the base templates and scripts have more than {limit} {what}")]
    TooMuch {
        /// The template at which the limit was reached.
        parent: String,
        /// The limit.
        limit: usize,
        /// Its unit.
        what: &'static str,
    },
    /// A template from the network names a file of this machine.
    #[error(
        "{parent} comes from the network and names a file of this machine: {field}: {location}; such a file could become \
         readable inside the VM. Check the template, then repeat the command with --allow-local-files"
    )]
    LocalFile {
        /// The template.
        parent: String,
        /// The field.
        field: String,
        /// The file.
        location: String,
    },
    /// A digest that cannot be read.
    #[error("{parent}: {field}.digest: {source}")]
    Digest {
        /// The template.
        parent: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Another text than the template wants.
    #[error(
        "{locator} has the digest {found}, and {parent} says {expected} in {field}; correct the digest or the URL"
    )]
    WrongDigest {
        /// The file or URL.
        locator: String,
        /// The template that names it.
        parent: String,
        /// The field.
        field: String,
        /// What the template says.
        expected: Box<Digest>,
        /// What it is.
        found: Box<Digest>,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Returns the complete template. A template without `base:` and `file:` comes back as it is, comments included.
///
/// # Errors
/// [`EmbedError`] names the template, the field, and the remedy.
pub fn embed(
    text: &str,
    locator: &str,
    loader: &dyn Loader,
    local_files: LocalFiles,
) -> Result<String, EmbedError> {
    let mut embedding = Embedding {
        loader,
        local_files,
        seen: BTreeSet::new(),
        files: 0,
        bytes: 0,
        changed: false,
    };
    let mut root = embedding.template(text, &Locator::of_template(locator), 0)?;
    if !embedding.changed {
        return Ok(text.to_owned());
    }
    combine::entries(&mut root);
    Ok(crate::yaml::to_string(&root).map_err(WriteError::from)?)
}

struct Embedding<'l> {
    loader: &'l dyn Loader,
    local_files: LocalFiles,
    seen: BTreeSet<String>,
    files: usize,
    bytes: usize,
    changed: bool,
}

impl Embedding<'_> {
    /// The tree of one template, with everything that it names merged in.
    fn template(&mut self, text: &str, from: &Locator, depth: usize) -> Result<Node, EmbedError> {
        let mut root = root_of(text).map_err(|source| EmbedError::Parse {
            locator: from.to_string(),
            source,
        })?;
        scalars::keep_as_written(&mut root, text);
        local_files::check(&root, from, self.local_files)?;
        self.scripts(&mut root, from)?;
        let bases = root.remove("base").map(references).unwrap_or_default();
        for (index, base) in bases.into_iter().enumerate() {
            if depth >= DEPTH_LIMIT {
                return Err(EmbedError::TooMuch {
                    parent: from.to_string(),
                    limit: DEPTH_LIMIT,
                    what: "levels",
                });
            }
            let field = format!("base[{index}]");
            let (text, locator) = self.read(&base, from, &field)?;
            if !self.seen.insert(locator.to_string()) {
                return Err(EmbedError::Repeated {
                    locator: locator.to_string(),
                    parent: from.to_string(),
                    field,
                });
            }
            let base = self.template(&text, &locator, depth + 1)?;
            merge::merge(&mut root, base);
        }
        Ok(root)
    }

    /// Replaces `file:` of scripts by the text.
    fn scripts(&mut self, root: &mut Node, from: &Locator) -> Result<(), EmbedError> {
        for list in ["provision", "probes"] {
            let Some(Node {
                value: Value::List(items),
                ..
            }) = root.get_mut(list)
            else {
                continue;
            };
            for (index, item) in items.iter_mut().enumerate() {
                let target = match item.get("mode").map(|node| &node.value) {
                    Some(Value::Text(mode)) if mode == "data" => "content",
                    Some(Value::Text(mode)) if mode == "yq" => "expression",
                    _ => "script",
                };
                // A script beside a file is left for the validation, which refuses it.
                if item.get(target).is_some() {
                    continue;
                }
                let Some(file) = item.remove("file") else {
                    continue;
                };
                for reference in references(file) {
                    let field = format!("{list}[{index}].file");
                    let (text, _) = self.read(&reference, from, &field)?;
                    let place = item.place;
                    item.insert(
                        Key {
                            name: target.to_owned(),
                            place,
                        },
                        Node::new(Value::Text(text), place),
                    );
                }
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        reference: &Reference,
        from: &Locator,
        field: &str,
    ) -> Result<(String, Locator), EmbedError> {
        self.changed = true;
        let parent = || from.to_string();
        let locator = from
            .resolve(&reference.url)
            .map_err(|reason| EmbedError::Locator {
                locator: reference.url.clone(),
                parent: parent(),
                field: field.to_owned(),
                reason,
            })?;
        self.files += 1;
        if self.files > FILES_LIMIT {
            return Err(EmbedError::TooMuch {
                parent: parent(),
                limit: FILES_LIMIT,
                what: "files",
            });
        }
        let text = self
            .loader
            .load(&locator.to_string())
            .map_err(|reason| EmbedError::Load {
                locator: locator.to_string(),
                parent: parent(),
                field: field.to_owned(),
                reason,
            })?;
        self.bytes += text.len();
        if self.bytes > TOTAL_LIMIT {
            return Err(EmbedError::TooMuch {
                parent: parent(),
                limit: TOTAL_LIMIT,
                what: "bytes",
            });
        }
        if let Some(expected) = &reference.digest {
            let expected: Digest = expected.parse().map_err(|source| EmbedError::Digest {
                parent: parent(),
                field: field.to_owned(),
                source,
            })?;
            let found = expected.of_bytes(text.as_bytes());
            if found != expected {
                return Err(EmbedError::WrongDigest {
                    locator: locator.to_string(),
                    parent: parent(),
                    field: field.to_owned(),
                    expected: Box::new(expected),
                    found: Box::new(found),
                });
            }
        }
        Ok((text, locator))
    }
}

/// What a `base:` or `file:` names.
struct Reference {
    url: String,
    digest: Option<String>,
}

/// Reads a URL, a map with a URL, or a list of either. Anything else is left out; reading the template's fields refuses it.
fn references(node: Node) -> Vec<Reference> {
    let text = |node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    match node.value {
        Value::Text(url) if !url.is_empty() => vec![Reference { url, digest: None }],
        Value::Map(_) => text(node.get("url"))
            .map(|url| Reference {
                url,
                digest: text(node.get("digest")),
            })
            .into_iter()
            .collect(),
        Value::List(items) => items.into_iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
