//! The cache folder.
//!
//! ```text
//! download/by-url-sha256/<sha256 of the URL>/   one download, as Lima lays it out
//!     data                  the file
//!     url, time, type       the URL, Last-Modified and Content-Type, as Lima writes them
//!     validators.json       ETag and date, to check whether a file without digest has changed on the server
//!     verified.json         digests that `data` has been verified to have
//!     data.partial[.json]   the received part of an unfinished download
//! built/<NAME>/             an image built on this machine, with its image.json
//! locks/                    a lock for each of the above
//! ```

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use process::lock::FileLock;
use serde::{Deserialize, Serialize};

use super::download::{Download, Outcome, PartialInfo};
use super::error::ImageError;
use super::http::{Client, Limits, is_loopback};
use super::place::{How, place};
use super::source::sha256_hex;
use super::{Digest, Source};
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// How long one process waits for another's download. No download takes longer.
const WAIT_LIMIT: Duration = Duration::from_secs(6 * 3600);
/// How often the waiting process tries the lock.
const WAIT_LOOK: Duration = Duration::from_millis(100);

const DATA: &str = "data";
const PARTIAL: &str = "data.partial";
const PARTIAL_INFO: &str = "data.partial.json";
const VALIDATORS: &str = "validators.json";
const VERIFIED: &str = "verified.json";
const URL: &str = "url";

/// The images of this machine. Processes share the folder and synchronize by locks.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(super) dir: PathBuf,
    limits: Limits,
}

/// A file that can be put where a VM needs it. Holds the lock that keeps other processes from changing it.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
    /// The file belongs to the cache, which changes no file in place.
    linkable: bool,
    _lock: Option<FileLock>,
}

/// The digests of a file, valid as long as its size and time are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Verified {
    size: u64,
    modified_ns: u128,
    digests: Vec<String>,
}

impl Cache {
    /// Returns a cache in a folder, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limits: Limits::default(),
        }
    }

    /// Returns the same cache with other limits for downloads.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn downloads_dir(&self) -> PathBuf {
        self.dir.join("download/by-url-sha256")
    }

    /// Gets a file from this machine, from the cache, or from the network.
    ///
    /// A file without digest is requested again each time. The cached file is used if the server replies that it is unchanged,
    /// or cannot be reached.
    ///
    /// # Errors
    /// [`ImageError`]. A download with the wrong digest is removed; a file of the user never is.
    pub fn fetch(
        &self,
        location: &str,
        digest: Option<&Digest>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Fetched, ImageError> {
        match Source::parse(location)? {
            Source::Url(url) => self.fetch_url(&url, digest, progress, cancel),
            Source::File(path) => {
                if let Some(expected) = digest {
                    let found = hash(&path, location, expected, progress, cancel)?;
                    if found != *expected {
                        let expected = expected.clone();
                        return Err(ImageError::WrongDigest {
                            subject: location.to_owned(),
                            expected,
                            found,
                            removed: "",
                        });
                    }
                }
                let meta = std::fs::metadata(&path).map_err(ImageError::io("open", &path))?;
                if !meta.is_file() {
                    let source = std::io::Error::other("it is not a regular file");
                    return Err(ImageError::Io {
                        action: "use",
                        path,
                        source,
                    });
                }
                Ok(Fetched {
                    path,
                    linkable: false,
                    _lock: None,
                })
            }
            Source::Built(name) => {
                let (image, folder, lock) = self.open_built(&name, progress, cancel)?;
                Ok(Fetched {
                    path: folder.join(&image.disk.file),
                    linkable: true,
                    _lock: Some(lock),
                })
            }
        }
    }

    fn fetch_url(
        &self,
        parsed: &url::Url,
        digest: Option<&Digest>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Fetched, ImageError> {
        let url = parsed.as_str();
        // https authenticates the server, and a loopback connection does not leave the machine.
        if digest.is_none() && parsed.scheme() == "http" && !is_loopback(parsed) {
            return Err(ImageError::MissingDigest {
                url: url.to_owned(),
            });
        }
        let key = sha256_hex(url.as_bytes());
        let entry = self.downloads_dir().join(&key);
        let watched = entry.clone();
        let lock = self.lock(&key, url, progress, cancel, move || {
            partial_progress(&watched)
        })?;
        process::file::create_private_dir(&entry)?;
        // Left by writers that were killed. This process holds the lock, so no other one writes.
        process::file::remove_temporaries(&entry)?;
        // Written before the first byte, so that an unfinished download can be listed and removed.
        process::file::write_atomic(&entry.join(URL), url.as_bytes(), 0o600)?;
        let data = entry.join(DATA);
        let fetched = Fetched {
            path: data.clone(),
            linkable: true,
            _lock: Some(lock),
        };
        let there = data.is_file();
        if there && let Some(expected) = digest {
            if verify(&entry, &data, url, expected, progress, cancel)? == *expected {
                return Ok(fetched);
            }
            // The template has another digest than the cached file, so it is downloaded again.
            process::file::remove_if_there(&data)?;
        }
        if digest.is_none() {
            progress.warn(&format!(
                "{url}: the template has no digest, so the file cannot be verified"
            ));
        }
        let cached = (there && digest.is_none())
            .then(|| read_json(&entry.join(VALIDATORS)))
            .flatten();
        // With a digest any redirect is safe. Without one, a redirect must not leave https.
        let https_only = digest.is_none() && url.starts_with("https:");
        let download = Download {
            client: &Client::new(&self.limits, https_only, parsed),
            limits: &self.limits,
            url,
            partial: entry.join(PARTIAL),
            partial_info: entry.join(PARTIAL_INFO),
            cached,
            progress,
            cancel,
        };
        let info = match download.run() {
            Ok(Outcome::Complete(info)) => info,
            Ok(Outcome::NotModified) => return Ok(fetched),
            Err(error @ ImageError::Network { .. }) if there && digest.is_none() => {
                progress.warn(&format!("{error}; using the file of an earlier download"));
                return Ok(fetched);
            }
            Err(error) => return Err(error),
        };
        if let Some(expected) = digest {
            let found = hash(&download.partial, url, expected, progress, cancel)?;
            if found != *expected {
                process::file::remove_if_there(&download.partial)?;
                process::file::remove_if_there(&download.partial_info)?;
                let removed = "the download was removed; ";
                return Err(ImageError::WrongDigest {
                    subject: url.to_owned(),
                    expected: expected.clone(),
                    found,
                    removed,
                });
            }
        }
        finish(&entry, &download, &info)?;
        if let Some(expected) = digest {
            remember(&entry, &data, expected)?;
        }
        Ok(fetched)
    }

    /// Returns a file of the cache whose lock the caller holds.
    pub(crate) fn own_file(&self, path: PathBuf) -> Fetched {
        Fetched {
            path,
            linkable: true,
            _lock: None,
        }
    }

    /// Takes the lock of one entry. While another process holds it, reports that process's progress.
    pub(super) fn lock(
        &self,
        key: &str,
        subject: &str,
        progress: &dyn Progress,
        cancel: &Cancel,
        theirs: impl Fn() -> (u64, Option<u64>),
    ) -> Result<FileLock, ImageError> {
        let folder = self.dir.join("locks");
        process::file::create_private_dir(&folder)?;
        let path = folder.join(format!("{key}.lock"));
        let end = Instant::now() + WAIT_LIMIT;
        let mut throttle = Throttle::new();
        loop {
            let attempt = FileLock::try_acquire(&path, subject);
            if let Some(lock) = attempt.map_err(|source| ImageError::Lock {
                subject: subject.to_owned(),
                source: Box::new(source),
            })? {
                return Ok(lock);
            }
            if throttle.ready() {
                let (done, total) = theirs();
                progress.report(Phase::Waiting, subject, done, total);
            }
            if cancel.wait(WAIT_LOOK) {
                return Err(ImageError::Cancelled {
                    subject: subject.to_owned(),
                });
            }
            if Instant::now() >= end {
                let hours = WAIT_LIMIT.as_secs() / 3600;
                return Err(ImageError::WaitedTooLong {
                    subject: subject.to_owned(),
                    hours,
                });
            }
        }
    }
}

impl Fetched {
    /// Returns the path of the file, which must not be changed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `to`: a link if possible, or else a copy. A compressed file is unpacked to at most `unpack` bytes; `None` keeps it
    /// compressed.
    ///
    /// # Errors
    /// [`ImageError`]. The caller must remove a partial `to`.
    pub fn place(
        &self,
        to: &Path,
        unpack: Option<u64>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(), ImageError> {
        place(
            &self.path,
            to,
            How {
                link: self.linkable,
                unpack,
            },
            progress,
            cancel,
        )
    }
}

/// Returns the progress of another process's download.
fn partial_progress(entry: &Path) -> (u64, Option<u64>) {
    let done = std::fs::metadata(entry.join(PARTIAL)).map_or(0, |meta| meta.len());
    (
        done,
        read_json::<PartialInfo>(&entry.join(PARTIAL_INFO)).and_then(|info| info.total),
    )
}

/// Makes the finished download the entry's data. The order of the steps guarantees that a crash leaves data and validators
/// that belong together, or no validators.
fn finish(entry: &Path, download: &Download<'_>, info: &PartialInfo) -> Result<(), ImageError> {
    process::file::remove_if_there(&entry.join(VALIDATORS))?;
    process::file::remove_if_there(&entry.join(VERIFIED))?;
    process::file::replace_file(&download.partial, &entry.join(DATA))?;
    process::crash::point("image.after-data");
    process::file::remove_if_there(&download.partial_info)?;
    for (name, value) in [("time", &info.modified), ("type", &info.content_type)] {
        if let Some(value) = value {
            process::file::write_atomic(&entry.join(name), value.as_bytes(), 0o600)?;
        }
    }
    write_json(&entry.join(VALIDATORS), info)
}

/// The digest of cached data, remembered from an earlier look when the file has not changed since.
fn verify(
    entry: &Path,
    data: &Path,
    url: &str,
    expected: &Digest,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Digest, ImageError> {
    if let (Some(known), Some((size, modified_ns))) =
        (read_json::<Verified>(&entry.join(VERIFIED)), stamp(data))
        && known.size == size
        && known.modified_ns == modified_ns
        && known.digests.contains(&expected.to_string())
    {
        return Ok(expected.clone());
    }
    let found = hash(data, url, expected, progress, cancel)?;
    if found == *expected {
        remember(entry, data, expected)?;
    }
    Ok(found)
}

fn remember(entry: &Path, data: &Path, digest: &Digest) -> Result<(), ImageError> {
    let Some((size, modified_ns)) = stamp(data) else {
        return Ok(());
    };
    write_json(
        &entry.join(VERIFIED),
        &Verified {
            size,
            modified_ns,
            digests: vec![digest.to_string()],
        },
    )
}

fn stamp(path: &Path) -> Option<(u64, u128)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.len(),
        meta.modified()
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()?
            .as_nanos(),
    ))
}

fn hash(
    path: &Path,
    subject: &str,
    like: &Digest,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Digest, ImageError> {
    const CHUNK: usize = 1 << 20;
    let mut file = File::open(path).map_err(ImageError::io("open", path))?;
    let total = file
        .metadata()
        .map_err(ImageError::io("look at", path))?
        .len();
    let mut hasher = like.hasher();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let mut throttle = Throttle::new();
    loop {
        if cancel.is_cancelled() {
            return Err(ImageError::Cancelled {
                subject: subject.to_owned(),
            });
        }
        if throttle.ready() {
            progress.report(Phase::Verifying, subject, done, Some(total));
        }
        let count = file
            .read(&mut buffer)
            .map_err(ImageError::io("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        done += count as u64;
    }
    progress.report(Phase::Verifying, subject, done, Some(total));
    Ok(hasher.finish())
}

/// Reads a small JSON file. Returns `None` if it is missing or damaged.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    /// The largest file that is read, in bytes. They have a few hundred.
    const LIMIT: u64 = 1 << 20;
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ImageError> {
    let bytes = serde_json::to_vec(value).map_err(|error| ImageError::Io {
        action: "write",
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(process::file::write_atomic(path, &bytes, 0o600)?)
}
