//! Lists and removes the entries of the cache.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::Cache;
use super::error::ImageError;
use super::publish;
use super::source::sha256_hex;
use crate::progress::{Cancel, Silent};
use crate::template::types::Arch;

/// The identity of an entry of the cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryId {
    /// `image://NAME`.
    Built(String),
    /// A download, by its URL.
    Url(String),
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Built(name) => write!(f, "image://{name}"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// An entry of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The identity.
    pub id: EntryId,
    /// The folder.
    pub path: PathBuf,
    /// The size of all files in bytes, with those of an unfinished download.
    pub size: u64,
    /// The time of the build or download; `None` for an unfinished download.
    pub created: Option<SystemTime>,
    /// The architecture, if it is known.
    pub arch: Option<Arch>,
    /// False for an unfinished download.
    pub complete: bool,
}

impl Cache {
    /// Returns all entries by name, built images first.
    ///
    /// # Errors
    /// The folder cannot be read. A cache that does not exist is empty.
    pub fn list(&self) -> Result<Vec<CacheEntry>, ImageError> {
        let mut found = Vec::new();
        for name in self.built_names() {
            match self.built(&name) {
                Ok(image) => {
                    let path = self.dir.join("built").join(&name);
                    let created = modified(&path.join("image.json"));
                    let size = size_of(&path);
                    found.push(CacheEntry {
                        id: EntryId::Built(name),
                        path,
                        size,
                        created,
                        arch: Some(image.arch),
                        complete: true,
                    });
                }
                // The next use of a broken image reports the error.
                Err(error) => tracing::warn!(%error, "not listed"),
            }
        }
        let folder = self.downloads_dir();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(ImageError::io("read", &folder)(error)),
        };
        let mut downloads: Vec<CacheEntry> = entries
            .flatten()
            .filter_map(|entry| download(&entry.path()))
            .collect();
        downloads.sort_by(|a, b| a.id.cmp(&b.id));
        found.extend(downloads);
        Ok(found)
    }

    /// Removes an entry. VMs made from it keep their links. A missing entry is no error.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, id: &EntryId) -> Result<(), ImageError> {
        let (_lock, folder) = match id {
            EntryId::Built(name) => {
                super::Source::parse(&format!("image://{name}"))?;
                self.lock_built(name, &Silent, &Cancel::new())?
            }
            EntryId::Url(url) => {
                // An entry with an unknown URL is listed by its key.
                let is_key = url.len() == 64 && url.bytes().all(|b| b.is_ascii_hexdigit());
                let key = if is_key {
                    url.clone()
                } else {
                    sha256_hex(url.as_bytes())
                };
                let lock = self.lock(&key, url, &Silent, &Cancel::new(), || (0, None))?;
                (lock, self.downloads_dir().join(key))
            }
        };
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ImageError::io("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }
}

fn download(path: &Path) -> Option<CacheEntry> {
    /// The longest URL, in bytes. Servers accept no longer ones.
    const LIMIT: u64 = 64 << 10;
    let key = path.file_name()?.to_str()?;
    let data = path.join("data");
    let complete = data.is_file();
    let url = path.join("url");
    let known = std::fs::metadata(&url).is_ok_and(|meta| meta.len() <= LIMIT);
    let url = if known {
        std::fs::read_to_string(&url).ok()
    } else {
        None
    };
    // A folder with an unknown URL is listed by its key, as in Lima's tools.
    let url = url
        .filter(|url| sha256_hex(url.trim().as_bytes()) == key)
        .map_or_else(|| key.to_owned(), |url| url.trim().to_owned());
    Some(CacheEntry {
        arch: guess_arch(&url),
        id: EntryId::Url(url),
        path: path.to_owned(),
        size: size_of(path),
        created: if complete { modified(&data) } else { None },
        complete,
    })
}

/// Guesses the architecture from the file's name. Distributions use one of two names for it.
fn guess_arch(url: &str) -> Option<Arch> {
    let name = url.rsplit('/').next().unwrap_or(url);
    let known = [
        ("x86_64", Arch::X86_64),
        ("amd64", Arch::X86_64),
        ("aarch64", Arch::Aarch64),
        ("arm64", Arch::Aarch64),
        ("armv7l", Arch::Armv7l),
        ("armhf", Arch::Armv7l),
        ("ppc64le", Arch::Ppc64le),
        ("ppc64el", Arch::Ppc64le),
        ("riscv64", Arch::Riscv64),
        ("s390x", Arch::S390x),
    ];
    known
        .into_iter()
        .find(|(text, _)| name.contains(text))
        .map(|(_, arch)| arch)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// Returns the space that the files of a folder use, in bytes. Entries have no folders inside.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| publish::taken(&meta))
        .sum()
}
