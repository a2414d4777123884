//! Generates and checks a key pair.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use super::error::KeyError;

/// The comment in `user.pub`, as in Lima.
const COMMENT: &str = "lima";

/// Generates a pair and returns the text of the private key. ed25519 keys are short, and every ssh of the last ten years
/// supports them.
pub(super) fn generate() -> Result<String, KeyError> {
    let mut seed = [0; Ed25519PrivateKey::BYTE_SIZE];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| KeyError::Make("the system has no random numbers".to_owned()))?;
    let made = Ed25519KeyPair::from_seed_unchecked(&seed)
        .map_err(|error| KeyError::Make(error.to_string()))?;
    let public = made.public_key().as_ref().try_into();
    let public: [u8; Ed25519PublicKey::BYTE_SIZE] =
        public.map_err(|_| KeyError::Make("the public key has another length".to_owned()))?;
    let data = Ed25519Keypair {
        public: Ed25519PublicKey(public),
        private: Ed25519PrivateKey::from_bytes(&seed),
    };
    let failed = |error: ssh_key::Error| KeyError::Make(error.to_string());
    let key = PrivateKey::new(KeypairData::Ed25519(data), COMMENT).map_err(failed)?;
    Ok(key.to_openssh(LineEnding::LF).map_err(failed)?.to_string())
}

/// The kinds of text in the file of a private key.
#[derive(Debug)]
pub(super) enum Private {
    /// A usable key, with its public half as a line of `user.pub`.
    Valid { public_line: String },
    /// Protected by a passphrase.
    Encrypted,
    /// A private key in another format than OpenSSH's, which its first line names.
    OtherFormat(String),
    /// Not a key.
    Broken,
}

pub(super) fn classify(bytes: &[u8]) -> Private {
    let Ok(key) = PrivateKey::from_openssh(bytes) else {
        return match other_format(bytes) {
            Some(format) => Private::OtherFormat(format),
            None => Private::Broken,
        };
    };
    if key.is_encrypted() {
        return Private::Encrypted;
    }
    if let KeypairData::Ed25519(pair) = key.key_data()
        && Ed25519KeyPair::from_seed_and_public_key(&pair.private.to_bytes(), &pair.public.0)
            .is_err()
    {
        // The two halves in the file do not match, so a server would refuse the signature.
        return Private::Broken;
    }
    let mut public = key.public_key().clone();
    if public.comment().is_empty() {
        public.set_comment(COMMENT);
    }
    match public.to_openssh() {
        Ok(line) => Private::Valid { public_line: line },
        Err(_) => Private::Broken,
    }
}

/// Detects `BEGIN RSA PRIVATE KEY` and the like with their end: keys that ssh can use and this program cannot read.
fn other_format(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let label = text
        .lines()
        .next()?
        .trim()
        .strip_prefix("-----BEGIN ")?
        .strip_suffix("-----")?;
    let whole = text.ends_with(&format!("-----END {label}-----"));
    (whole && label.ends_with("PRIVATE KEY") && label != "OPENSSH PRIVATE KEY")
        .then(|| label.to_owned())
}

/// Whether the text of a `user.pub` has the same key as `line`. The comment may differ.
pub(super) fn same_public(text: &[u8], line: &str) -> bool {
    let parse = |text: &str| PublicKey::from_openssh(text.trim()).ok();
    let found = std::str::from_utf8(text).ok().and_then(parse);
    match (found, parse(line)) {
        (Some(found), Some(expected)) => found.key_data() == expected.key_data(),
        _ => false,
    }
}
