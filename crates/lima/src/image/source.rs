//! The location and the digest of an image.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sha2::Digest as _;
use url::Url;

use crate::layout;

/// A parsed `location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A URL to download.
    Url(Url),
    /// A file of this machine. The path may begin with `~`.
    File(PathBuf),
    /// `image://NAME`, an image built on this machine.
    Built(String),
}

/// A location is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The location is empty.
    #[error("must be set: an http(s) URL, an absolute path, or image://NAME")]
    Empty,
    /// A relative path, which would mean different files in different processes.
    #[error("{0:?} is neither a URL nor an absolute path")]
    Relative(String),
    /// A URL with an unsupported scheme.
    #[error("{0:?} has a scheme that is not supported; use http, https, file or image")]
    Scheme(String),
    /// The URL cannot be parsed.
    #[error("{location:?} is not a URL: {reason}")]
    BadUrl {
        /// The location as given.
        location: String,
        /// The parser's error.
        reason: String,
    },
    /// The name in `image://NAME` is not valid.
    #[error("{location:?} does not name an image: {reason}")]
    BadName {
        /// The location as given.
        location: String,
        /// The parser's error.
        reason: String,
    },
}

impl Source {
    /// Parses a `location`.
    ///
    /// # Errors
    /// [`SourceError`] with the forms that a location may have.
    pub fn parse(location: &str) -> Result<Self, SourceError> {
        if location.is_empty() {
            return Err(SourceError::Empty);
        }
        let Some((scheme, rest)) = location.split_once("://") else {
            let path = PathBuf::from(location);
            return if path.is_absolute() || location == "~" || location.starts_with("~/") {
                Ok(Self::File(path))
            } else {
                Err(SourceError::Relative(location.to_owned()))
            };
        };
        let bad_url = |reason: String| SourceError::BadUrl {
            location: location.to_owned(),
            reason,
        };
        match scheme.to_ascii_lowercase().as_str() {
            "image" => {
                layout::validate_name(rest).map_err(|error| SourceError::BadName {
                    location: location.to_owned(),
                    reason: error.to_string(),
                })?;
                Ok(Self::Built(rest.to_owned()))
            }
            "http" | "https" => {
                let url = Url::parse(location).map_err(|error| bad_url(error.to_string()))?;
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(bad_url("it names no host".to_owned()));
                }
                Ok(Self::Url(url))
            }
            "file" => {
                let url = Url::parse(location).map_err(|error| bad_url(error.to_string()))?;
                url.to_file_path().map(Self::File).map_err(|()| {
                    bad_url("it must name a file of this machine, such as file:///tmp/x".to_owned())
                })
            }
            _ => Err(SourceError::Scheme(location.to_owned())),
        }
    }
}

/// A file's digest: `sha256:…` or `sha512:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The digits in lower case.
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is missing or not supported.
    #[error("{0:?} is not a digest: it must begin with sha256: or sha512:")]
    Algorithm(String),
    /// The number of hexadecimal digits is wrong.
    #[error(
        "{text:?} is not a digest: {algorithm} has {expected} hexadecimal digits, this has {found}"
    )]
    Length {
        /// The text.
        text: String,
        /// The algorithm.
        algorithm: &'static str,
        /// The number of digits of the algorithm.
        expected: usize,
        /// The number of digits in the text.
        found: usize,
    },
    /// The text contains other characters than hexadecimal digits.
    #[error("{0:?} is not a digest: it contains characters that are not hexadecimal digits")]
    NotHex(String),
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = match text.split_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, hex),
            Some(("sha512", hex)) => (Algorithm::Sha512, hex),
            _ => return Err(DigestError::Algorithm(text.to_owned())),
        };
        if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DigestError::NotHex(text.to_owned()));
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length {
                text: text.to_owned(),
                algorithm: algorithm.name(),
                expected: algorithm.hex_length(),
                found: hex.len(),
            });
        }
        Ok(Self {
            algorithm,
            hex: hex.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl Digest {
    /// Computes the digest of some bytes with the same algorithm.
    pub(crate) fn of_bytes(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns a hasher for the same algorithm.
    pub(crate) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }
}

/// Computes a [`Digest`].
#[derive(Debug)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest {
                algorithm: Algorithm::Sha256,
                hex: hex::encode(hasher.finalize()),
            },
            Self::Sha512(hasher) => Digest {
                algorithm: Algorithm::Sha512,
                hex: hex::encode(hasher.finalize()),
            },
        }
    }
}

/// SHA-256 of a few bytes, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The absolute paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn locations_are_parsed_by_their_kind() {
        let url = |text: &str| Source::Url(Url::parse(text).unwrap());
        for (text, source) in [
            ("https://h/x.qcow2?a=b", url("https://h/x.qcow2?a=b")),
            ("HTTP://h/x", url("http://h/x")),
            ("/a b/[x]*", Source::File("/a b/[x]*".into())),
            ("~/x", Source::File("~/x".into())),
            ("file:///a%20b", Source::File("/a b".into())),
            ("image://debian-12", Source::Built("debian-12".to_owned())),
        ] {
            assert_eq!(Source::parse(text), Ok(source), "{text}");
        }
        for text in [
            "",
            "x",
            "./x",
            "ftp://h/x",
            "http://",
            "file://host/x",
            "image://../x",
            "image://",
            "https://:1/",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digests_are_parsed_and_computed() {
        let sha = sha256_hex(b"");
        assert_eq!(
            sha,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let digest: Digest = format!("sha256:{}", sha.to_uppercase()).parse().unwrap();
        let mut hasher = digest.hasher();
        hasher.update(b"");
        assert_eq!(hasher.finish(), digest);
        assert_eq!(digest.to_string(), format!("sha256:{sha}"));
        assert!("md5:0".parse::<Digest>().is_err());
        assert!(sha.parse::<Digest>().is_err());
        assert!(
            format!("sha512:{sha}")
                .parse::<Digest>()
                .unwrap_err()
                .to_string()
                .contains("this has 64")
        );
        assert!(format!("sha256:{}x", &sha[1..]).parse::<Digest>().is_err());
    }
}
