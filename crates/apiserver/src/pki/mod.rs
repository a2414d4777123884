//! Certificates: a private authority, the server's certificate and the administrator's client certificate.
//!
//! They are in one folder; only the owner can read the keys. A certificate that is missing, unreadable, issued by
//! another authority or about to expire is issued again. The authority is kept as long as it is valid, so that
//! existing kubeconfigs keep working.

pub(crate) mod certificate;
mod files;
mod issue;
mod kubeconfig;
mod renewal;

pub use renewal::Renewal;
use std::path::PathBuf;

/// Why the certificates could not be loaded or issued.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be written, or its folder not created.
    #[error("cannot {doing} {}: {source}; check that the folder belongs to you and the disk has room", path.display())]
    File {
        /// The operation that failed.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A certificate could not be issued.
    #[error("cannot issue the {which} certificate: {message}")]
    Issue {
        /// The certificate.
        which: &'static str,
        /// The cause.
        message: String,
    },
    /// rustls refuses the certificates.
    #[error("cannot configure TLS: {message}")]
    Tls {
        /// The cause.
        message: String,
    },
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key (PKCS #8), PEM.
    pub key_pem: String,
}

/// The certificates of one instance.
#[derive(Clone, PartialEq, Eq)]
pub struct Pki {
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// The certificate of the server, for 127.0.0.1, ::1, localhost, kubernetes and others.
    pub server: Identity,
    /// A client certificate with every right (`O=system:masters`).
    pub admin: Identity,
}
