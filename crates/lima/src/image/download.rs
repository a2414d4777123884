//! Downloads one file over HTTP into the cache, and resumes earlier attempts.
//!
//! ```text
//!            ┌──────────── stalled, cut off, 5xx: pause, request the rest ──────────────┐
//!            ▼                                                                           │
//!   partial of n bytes ── Range n-, If-Range ──▶ 206: append ────────────────────────────┤
//!            │                                   200: the file has changed, restart ──────┤
//!            │                                   416: was complete ─▶ done               │
//!            └─ 304 (a file without digest, unchanged) ─▶ the cached one                 └▶ complete: done
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::http::{Answer, Client, Conditions, Limits};
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// The largest download, in bytes. It is far beyond any published image, and stops a server that sends without end.
pub(crate) const MAX_BYTES: u64 = 1 << 40;

/// The number of attempts on a server that sends a little each time and then closes the connection.
const MAX_ATTEMPTS: u32 = 1000;

/// The bytes that are read and written at once.
const CHUNK: usize = 256 << 10;

/// The description of a partial file, in a file beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PartialInfo {
    /// Used with `If-Range`, so that the rest is of the same file.
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) total: Option<u64>,
}

impl PartialInfo {
    /// Returns the value of `If-Range`: a strong ETag, or else a date.
    fn validator(&self) -> Option<String> {
        self.etag
            .clone()
            .filter(|etag| !etag.starts_with("W/"))
            .or_else(|| self.modified.clone())
    }
}

/// The result of a download.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The partial file is complete.
    Complete(PartialInfo),
    /// The cached file is unchanged on the server.
    NotModified,
}

/// A download into the files `partial` and `partial_info`, whose lock the caller holds.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) url: &'a str,
    pub(crate) partial: PathBuf,
    pub(crate) partial_info: PathBuf,
    /// The description of the cached file, for a conditional request.
    pub(crate) cached: Option<PartialInfo>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a Cancel,
}

/// The end of an attempt that did not complete the download.
enum Cut {
    /// The reason for another attempt.
    Again(String),
    /// An error that another attempt does not change.
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
        // Without a validator the rest may be of another file.
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
                    "the server sent another range than requested".to_owned(),
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
            // The requested range is behind the end: the partial file is complete, or of another file.
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

    /// Copies until the end of the body, and returns the size of the file.
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
        // After a cancel the connection ends like one with a complete body.
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
        // Without a valid description the download starts from the beginning.
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

/// The file that gets the bytes.
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

/// Returns the error of a failed write.
fn no_space(path: &Path, written: u64, resumable: bool, error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let mut resume = "";
            if resumable {
                resume = ": the download continues from there";
            } else {
                // A part that cannot be resumed only occupies space.
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
    fn a_full_disk_keeps_a_part_that_can_be_resumed_and_removes_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.partial");
        // The kernel's error of a full disk, from the device that is always full.
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
            assert_eq!(message.contains("continues from there"), resumable);
            assert!(error.is_final(), "another image would not fit either");
        }
    }
}
