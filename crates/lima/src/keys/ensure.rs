//! Makes a valid pair from any state of the files.

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

/// How long to wait for the lock. Generating a pair takes milliseconds, so a holder that takes longer hangs.
const WAIT: Duration = Duration::from_secs(30);

/// A valid pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The file of the private key.
    pub private: PathBuf,
    /// The file of the public key.
    pub public: PathBuf,
    /// The public key, as a line of `authorized_keys`.
    pub authorized_key: String,
}

/// Makes sure that the folder ([`crate::layout::LimaHome::config_dir`]) contains a valid pair. Many processes may call this at
/// once, and it works after a crash at any moment.
///
/// # Errors
/// [`KeyError`] with the file and the remedy. The files are then unchanged, or moved aside.
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
        None => match interrupted(config_dir, &private)? {
            Some(line) => line,
            None => write_new(&private)?,
        },
    };
    make_private(&private).map_err(|source| KeyError::Io {
        action: "set the mode of",
        path: private.clone(),
        source,
        remedy: "give it mode 600, because ssh refuses a key that other users can read",
    })?;
    public_key(&public, &authorized_key)?;
    clear_temporaries(config_dir)?;
    Ok(KeyPair {
        private,
        public,
        authorized_key,
    })
}

/// Returns the public line of the existing key, or `None` if there is no key, or it was moved aside.
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

/// Uses a complete key that an interrupted write has left under its temporary name. No guest has it yet, but a user may have
/// copied its public half, and no valid key is ever deleted.
fn interrupted(folder: &Path, private: &Path) -> Result<Option<String>, KeyError> {
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
            // Other users may read it; what matters is that this user can.
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

/// Clears half-written files of earlier calls. No process writes now, because this one holds the lock. Empty files are
/// removed. Others are moved aside, because they may contain a key.
fn clear_temporaries(folder: &Path) -> Result<(), KeyError> {
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

/// Returns the temporary files of writers of the two keys. Their names begin with `user` and end with `.tmp`. The folder is
/// listed and names are compared, because the folder's own name may contain any character (hazard 14).
fn temporaries(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let failed = |source| KeyError::Io {
        action: "read",
        path: folder.to_owned(),
        source,
        remedy: "make the folder readable for this user",
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
