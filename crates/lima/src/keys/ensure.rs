//! From any state to a valid pair.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::lock::FileLock;

use super::aside::move_aside;
use super::error::KeyError;
use super::pair::{self, Private};
use super::read::{Found, look, make_private};

const PRIVATE: &str = "user";
const PUBLIC: &str = "user.pub";
const LOCK: &str = ".user.lock";

/// Making a pair takes milliseconds; who holds the lock for longer hangs.
const WAIT: Duration = Duration::from_secs(30);

/// A valid pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private key's file.
    pub private: PathBuf,
    /// The public key's file.
    pub public: PathBuf,
    /// The public key, as a line of `authorized_keys`.
    pub authorized_key: String,
}

/// Makes sure that the folder ([`crate::layout::LimaHome::config_dir`]) holds a valid pair. Safe to call from many
/// processes at once, and after a crash at any moment.
///
/// # Errors
/// [`KeyError`] names the file and the remedy; what was found is then still there, as it was or moved aside.
pub fn ensure(config_dir: &Path) -> Result<KeyPair, KeyError> {
    process::file::create_private_dir(config_dir)?;
    let _lock = FileLock::acquire(
        &config_dir.join(LOCK),
        "ssh key pair",
        Instant::now() + WAIT,
    )?;
    let (private, public) = (config_dir.join(PRIVATE), config_dir.join(PUBLIC));
    let authorized_key = match private_key(&private)? {
        Some(line) => line,
        None => match left_over(config_dir, &private)? {
            Some(line) => line,
            None => write_new(&private)?,
        },
    };
    make_private(&private).map_err(|source| KeyError::Io {
        action: "set the mode of",
        path: private.clone(),
        source,
        remedy: "give it mode 600 yourself, as ssh refuses a key that others can read",
    })?;
    public_key(&public, &authorized_key)?;
    clear_left_overs(config_dir)?;
    Ok(KeyPair {
        private,
        public,
        authorized_key,
    })
}

/// The public line of the key that is there; `None` when there is none (any more).
fn private_key(path: &Path) -> Result<Option<String>, KeyError> {
    match look(path) {
        Found::Absent => Ok(None),
        Found::Unreadable(source) => Err(KeyError::Unreadable {
            path: path.to_owned(),
            source,
        }),
        Found::NoKey => move_aside(path).map(|_| None),
        Found::Bytes(bytes) => match pair::classify(&bytes) {
            Private::Valid { public_line } => Ok(Some(public_line)),
            Private::Encrypted => Err(KeyError::Encrypted {
                path: path.to_owned(),
            }),
            Private::OtherFormat(format) => Err(KeyError::Format {
                path: path.to_owned(),
                format,
            }),
            Private::Broken => move_aside(path).map(|_| None),
        },
    }
}

/// An interrupted write may have left the whole key under its temporary name. No guest knows it, but somebody may have
/// been told its public half; and no valid key is ever thrown away.
fn left_over(folder: &Path, private: &Path) -> Result<Option<String>, KeyError> {
    for path in temporaries(folder)? {
        let Found::Bytes(bytes) = look(&path) else {
            continue;
        };
        if let Private::Valid { public_line } = pair::classify(&bytes) {
            process::file::replace_file(&path, private)?;
            return Ok(Some(public_line));
        }
    }
    Ok(None)
}

fn write_new(private: &Path) -> Result<String, KeyError> {
    let text = pair::generate()?;
    let Private::Valid { public_line } = pair::classify(text.as_bytes()) else {
        return Err(KeyError::Make("the new key cannot be read back".to_owned()));
    };
    process::file::write_atomic(private, text.as_bytes(), 0o600)?;
    process::crash::point("keys.after-private");
    Ok(public_line)
}

fn public_key(path: &Path, line: &str) -> Result<(), KeyError> {
    match look(path) {
        Found::Bytes(bytes) if pair::same_public(&bytes, line) => {
            // Others may read it without harm; that we always can is what matters.
            if let Err(error) = make_private(path) {
                tracing::debug!(%error, "cannot set the mode of {}", path.display());
            }
            return Ok(());
        }
        Found::Absent => {}
        _ => {
            move_aside(path)?;
        }
    }
    process::file::write_atomic(path, format!("{line}\n").as_bytes(), 0o600)?;
    process::crash::point("keys.after-public");
    Ok(())
}

/// Half-written files of earlier calls. Nobody writes now, as we hold the lock. What is empty goes; anything else is
/// moved aside, as it may be a key after all.
fn clear_left_overs(folder: &Path) -> Result<(), KeyError> {
    for path in temporaries(folder)? {
        match look(&path) {
            Found::Bytes(bytes) if bytes.is_empty() => process::file::remove_if_there(&path)?,
            Found::Absent => {}
            _ => {
                move_aside(&path)?;
            }
        }
    }
    Ok(())
}

/// Names that a writer of the two files uses while it writes (ours, and those of ssh-keygen's callers): they begin
/// with `user` and end with `.tmp`. By listing and comparing, as the folder may be called anything (hazard 14).
fn temporaries(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let failed = |source| KeyError::Io {
        action: "read",
        path: folder.to_owned(),
        source,
        remedy: "make the folder readable for you",
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.trim_start_matches('.').starts_with(PRIVATE);
        if ours && name.ends_with(process::file::TEMPORARY_SUFFIX) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
