//! One file over HTTP into the cache, resumed where an earlier attempt ended.
//!
//! ```text
//!            ┌────────────── stalled, cut off, 5xx: pause, ask for the rest ─────────────┐
//!            ▼                                                                           │
//!   partial of n bytes ── Range n-, If-Range ──▶ 206: append ────────────────────────────┤
//!            │                                   200: another file now, begin anew ──────┤
//!            │                                   416: was complete ─▶ done               │
//!            └─ 304 (a file without digest, still the same) ─▶ the cached one            └▶ complete: done
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::http::{Answer, Client, Conditions, Limits};
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// The largest file that is taken: far beyond any published image, and an end for a server that never stops.
pub(crate) const MAX_BYTES: u64 = 1 << 40;

/// A server that brings a little each time and then cuts off is left after so many attempts.
const MAX_ATTEMPTS: u32 = 1000;

/// Read and written at once.
const CHUNK: usize = 256 << 10;

/// What is known about a partial file, beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PartialInfo {
    /// `If-Range` with this goes on only in the same file.
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) total: Option<u64>,
}

impl PartialInfo {
    /// What `If-Range` takes: a strong ETag, else a date.
    fn validator(&self) -> Option<String> {
        self.etag
            .clone()
            .filter(|etag| !etag.starts_with("W/"))
            .or_else(|| self.modified.clone())
    }
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The partial file is the whole file.
    Complete(PartialInfo),
    /// The cached file is still the right one.
    NotModified,
}

/// A download into the two files `partial` and `partial_info`. The caller holds the lock on them.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) url: &'a str,
    pub(crate) partial: PathBuf,
    pub(crate) partial_info: PathBuf,
    /// What the cached file is, to ask whether it is still right.
    pub(crate) cached: Option<PartialInfo>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a Cancel,
}

/// How one attempt ended when the download is not done.
enum Cut {
    /// Try again: what happened.
    Again(String),
    /// No use to try again.
    Final(ImageError),
}

impl Download<'_> {
    pub(crate) fn run(&self) -> Result<Outcome, ImageError> {
        let client = self.client.clone();
        let _hook = self.cancel.on_cancel(move || client.shutdown());
        let mut fruitless = 0;
        let mut pause = self.limits.pause;
        let mut reason = String::new();
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                self.progress
                    .warn(&format!("{}: {reason}; trying again", self.url));
                if self.cancel.wait(pause) {
                    break;
                }
                pause = (pause * 2).min(Limits::MAX_PAUSE);
            }
            if self.cancel.is_cancelled() {
                break;
            }
            let before = self.have();
            match self.attempt(before) {
                Ok(outcome) => return Ok(outcome),
                Err(Cut::Final(error)) => return Err(error),
                Err(Cut::Again(why)) => reason = why,
            }
            if self.have() > before {
                fruitless = 0;
                pause = self.limits.pause;
            } else {
                fruitless += 1;
            }
            if fruitless >= self.limits.attempts {
                break;
            }
        }
        if self.cancel.is_cancelled() {
            return Err(ImageError::Cancelled {
                subject: self.url.to_owned(),
            });
        }
        Err(ImageError::Network {
            url: self.url.to_owned(),
            attempts: fruitless,
            have: self.have(),
            reason,
        })
    }

    fn have(&self) -> u64 {
        std::fs::metadata(&self.partial).map_or(0, |meta| meta.len())
    }

    fn attempt(&self, have: u64) -> Result<Outcome, Cut> {
        let info = self.read_info();
        let validator = info.validator();
        // Without a validator the rest may be that of another file.
        let from = if validator.is_some() { have } else { 0 };
        let mut conditions = Conditions {
            from,
            validator,
            ..Conditions::default()
        };
        if from == 0
            && let Some(cached) = &self.cached
        {
            conditions.none_match.clone_from(&cached.etag);
            conditions.modified_since.clone_from(&cached.modified);
        }
        let answer = self
            .client
            .get(self.url, &conditions)
            .map_err(|error| self.cut(&error))?;
        match answer.status {
            304 => Ok(Outcome::NotModified),
            206 if answer.range.is_some_and(|(start, _)| start == from) => {
                let total = answer.range.and_then(|(_, total)| total).or(info.total);
                self.body(answer, from, PartialInfo { total, ..info })
            }
            206 => {
                self.clear()?;
                Err(Cut::Again(
                    "the server sent another range than asked for".to_owned(),
                ))
            }
            200 => {
                let info = PartialInfo {
                    etag: answer.etag.clone(),
                    modified: answer.modified.clone(),
                    content_type: answer.content_type.clone(),
                    total: answer.length,
                };
                self.body(answer, 0, info)
            }
            // We asked for bytes behind the end: the partial file is whole, or of another file.
            416 => match answer.range {
                Some((_, Some(total))) if total == from => Ok(Outcome::Complete(info)),
                _ => {
                    self.clear()?;
                    Err(Cut::Again("the file on the server has changed".to_owned()))
                }
            },
            408 | 425 | 429 | 500..=599 => Err(Cut::Again(format!(
                "the server answered {}",
                answer.status_text
            ))),
            _ => Err(Cut::Final(ImageError::Status {
                url: self.url.to_owned(),
                status: answer.status_text,
            })),
        }
    }

    fn body(&self, mut answer: Answer, from: u64, info: PartialInfo) -> Result<Outcome, Cut> {
        let file = self.open_partial(from).map_err(Cut::Final)?;
        self.write_info(&info).map_err(Cut::Final)?;
        let mut sink = Sink {
            file,
            path: &self.partial,
            resumable: info.validator().is_some(),
        };
        let written = self.copy(answer.body.as_mut(), &mut sink, from, info.total)?;
        if let Some(total) = info.total
            && written != total
        {
            return Err(Cut::Again(format!(
                "the connection ended after {written} of {total} bytes"
            )));
        }
        sink.file
            .sync_all()
            .map_err(|error| Cut::Final(sink.failed(written, error)))?;
        Ok(Outcome::Complete(info))
    }

    /// Copies until the end of the body; gives the size of the file then.
    fn copy(
        &self,
        body: &mut dyn Read,
        sink: &mut Sink<'_>,
        from: u64,
        total: Option<u64>,
    ) -> Result<u64, Cut> {
        let mut buffer = vec![0; CHUNK];
        let mut at = from;
        let mut throttle = Throttle::new();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Cut::Final(ImageError::Cancelled {
                    subject: self.url.to_owned(),
                }));
            }
            if throttle.ready() {
                self.progress
                    .report(Phase::Downloading, self.url, at, total);
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Cut::Again(read_failure(&error, self.limits))),
            };
            sink.file
                .write_all(&buffer[..count])
                .map_err(|error| Cut::Final(sink.failed(at, error)))?;
            at += count as u64;
            if at > MAX_BYTES {
                return Err(Cut::Final(ImageError::TooLarge {
                    subject: self.url.to_owned(),
                    limit: MAX_BYTES,
                }));
            }
        }
        // A connection that the cancel shut down ends like one whose body is complete.
        if self.cancel.is_cancelled() {
            return Err(Cut::Final(ImageError::Cancelled {
                subject: self.url.to_owned(),
            }));
        }
        self.progress
            .report(Phase::Downloading, self.url, at, total);
        Ok(at)
    }

    fn open_partial(&self, from: u64) -> Result<File, ImageError> {
        let open = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(from == 0);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&self.partial)?;
            file.set_len(from)?;
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        };
        open().map_err(ImageError::io("open", &self.partial))
    }

    fn read_info(&self) -> PartialInfo {
        // Without it, or with a damaged one, the download begins anew.
        std::fs::read(&self.partial_info)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn write_info(&self, info: &PartialInfo) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(info).unwrap_or_default();
        Ok(process::file::write_atomic(
            &self.partial_info,
            &bytes,
            0o600,
        )?)
    }

    fn clear(&self) -> Result<(), Cut> {
        for path in [&self.partial, &self.partial_info] {
            process::file::remove_if_there(path).map_err(|error| Cut::Final(error.into()))?;
        }
        Ok(())
    }

    fn cut(&self, error: &ureq::Error) -> Cut {
        match error {
            ureq::Error::BadUri(_)
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TooManyRedirects => Cut::Final(ImageError::Status {
                url: self.url.to_owned(),
                status: format!("with an error: {error}"),
            }),
            _ => Cut::Again(error.to_string()),
        }
    }
}

/// Where the bytes go.
struct Sink<'a> {
    file: File,
    path: &'a Path,
    resumable: bool,
}

impl Sink<'_> {
    fn failed(&self, written: u64, error: io::Error) -> ImageError {
        no_space(self.path, written, self.resumable, error)
    }
}

/// A failed write, told as what it is.
fn no_space(path: &Path, written: u64, resumable: bool, error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let mut resume = "";
            if resumable {
                resume = ": the download goes on from there";
            } else {
                // A part that nothing can be added to only takes the space away.
                let _ = std::fs::remove_file(path);
            }
            ImageError::NoSpace {
                path: path.to_owned(),
                written,
                resume,
            }
        }
        _ => ImageError::Io {
            action: "write",
            path: path.to_owned(),
            source: error,
        },
    }
}

fn read_failure(error: &io::Error, limits: &Limits) -> String {
    let timed_out = error.kind() == io::ErrorKind::TimedOut
        || error
            .get_ref()
            .and_then(|inner| inner.downcast_ref())
            .is_some_and(|inner| matches!(inner, ureq::Error::Timeout(_)));
    if timed_out {
        format!("nothing arrived for {} s", limits.stall.as_secs_f32())
    } else {
        format!("the connection broke: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_keeps_what_can_be_resumed_and_clears_what_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.partial");
        // What the kernel says on a full disk, from the one device that is always full.
        let full = || {
            OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap()
                .write_all(b"x")
                .unwrap_err()
        };
        for resumable in [true, false] {
            std::fs::write(&path, b"half").unwrap();
            let error = no_space(&path, 4, resumable, full());
            let message = error.to_string();
            assert!(
                message.contains("no space left") && message.contains("4 bytes written"),
                "{message}"
            );
            assert!(
                message.contains("free some space and try again"),
                "{message}"
            );
            assert_eq!(path.exists(), resumable);
            assert_eq!(message.contains("goes on from there"), resumable);
            assert!(error.is_final(), "another image would not fit either");
        }
    }
}
