//! Certificates: a private authority, the server's certificate and the administrator's client certificate.
//!
//! They live in one folder, keys readable by the owner only. Whatever is missing, unreadable, not of this authority
//! or about to expire is made anew; the authority is kept as long as it is good, so that kubeconfigs go on working.

mod der;
mod files;
mod issue;
mod kubeconfig;

pub(crate) use der::subject;
use std::path::PathBuf;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be written or its folder not made.
    #[error("cannot {doing} {}: {source}; check that the folder belongs to you and the disk has room", path.display())]
    File {
        /// what was tried
        doing: &'static str,
        /// on what
        path: PathBuf,
        /// cause
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot issue the {which} certificate: {message}")]
    Issue {
        /// which
        which: &'static str,
        /// cause
        message: String,
    },
    /// rustls does not take what was made.
    #[error("cannot configure TLS: {message}")]
    Tls {
        /// cause
        message: String,
    },
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key (PKCS #8), PEM.
    pub key_pem: String,
}

/// The certificates of one instance.
#[derive(Clone)]
pub struct Pki {
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// For 127.0.0.1, ::1, localhost, kubernetes…
    pub server: Identity,
    /// A client certificate with every right (`O=system:masters`).
    pub admin: Identity,
}
