//! The folder of certificates.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};

use super::{Identity, Pki, PkiError, certificate, issue};
use crate::access::user::User;

/// A certificate that expires sooner than this is issued again at start. A daemon may run for months, and once its
/// certificates have expired it would refuse every request, including the one to stop.
const RENEW_BEFORE: Duration = Duration::from_secs(365 * 24 * 3600);
/// The largest PEM file that is read; ours have two kilobytes.
const MAX_PEM: u64 = 64 << 10;

impl Pki {
    /// Loads the certificates in `dir`; issues those that are missing, corrupt or about to expire. The folder gets mode
    /// 0700, the files 0600.
    pub fn load_or_create(dir: &Path, now: SystemTime) -> Result<Self, PkiError> {
        make_private_dir(dir)?;
        let good_ca = read_identity(dir, "ca").filter(|ca| authority_is_good(ca, now));
        let ca = match good_ca {
            Some(ca) => ca,
            None => write_identity(dir, "ca", issue::authority(now)?)?,
        };
        let server = match read_identity(dir, "server").filter(|it| server_is_good(&ca, it, now)) {
            Some(server) => server,
            None => write_identity(dir, "server", issue::server(&ca, now)?)?,
        };
        let admin = match read_identity(dir, "admin").filter(|it| client_is_good(&ca, it, now)) {
            Some(admin) => admin,
            None => {
                let user = User::master("system:admin");
                write_identity(dir, "admin", issue::client(&ca, now, &user)?)?
            }
        };
        Ok(Self {
            ca_pem: ca.cert_pem,
            server,
            admin,
        })
    }

    /// Returns whether no certificate is about to expire at `now`.
    pub(super) fn is_valid_for_long(&self, now: SystemTime) -> bool {
        let soon = later(now).and_then(|time| i64::try_from(time.as_secs()).ok());
        let certificates = [&self.ca_pem, &self.server.cert_pem, &self.admin.cert_pem];
        certificates.into_iter().all(|pem| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
            let ends = der.and_then(|der| certificate::not_after(&der));
            ends > soon && soon.is_some()
        })
    }

    /// Returns the TLS configuration for `Server::serve`: HTTP/2 and HTTP/1.1. A client may send no certificate
    /// (`/healthz` needs none); one that it sends must be of this authority.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let tls = |message: String| PkiError::Tls { message };
        let certificate = CertificateDer::from_pem_slice(self.server.cert_pem.as_bytes())
            .map_err(|e| tls(e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.server.key_pem.as_bytes())
            .map_err(|e| tls(e.to_string()))?;
        let clients = client_verifier(&self.ca_pem)
            .ok_or_else(|| tls("the authority's certificate is not usable".into()))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(e.to_string()))?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)
            .map_err(|e| tls(e.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca_pem: &str) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).ok()?)
        .ok()?;
    Some(Arc::new(roots))
}

fn client_verifier(ca_pem: &str) -> Option<Arc<dyn ClientCertVerifier>> {
    WebPkiClientVerifier::builder_with_provider(roots(ca_pem)?, provider())
        .allow_unauthenticated()
        .build()
        .ok()
}

fn later(now: SystemTime) -> Option<UnixTime> {
    let since = (now + RENEW_BEFORE).duration_since(SystemTime::UNIX_EPOCH);
    since.ok().map(UnixTime::since_unix_epoch)
}

/// Returns the certificate if the key belongs to it.
fn matching(identity: &Identity) -> Option<CertificateDer<'static>> {
    let certificate = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).ok()?;
    rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &provider())
        .ok()?
        .keys_match()
        .ok()?;
    Some(certificate)
}

fn authority_is_good(ca: &Identity, now: SystemTime) -> bool {
    let check = || {
        let ends = certificate::not_after(&matching(ca)?)?;
        roots(&ca.cert_pem)?;
        Some(ends > i64::try_from(later(now)?.as_secs()).ok()?)
    };
    check().unwrap_or(false)
}

fn server_is_good(ca: &Identity, server: &Identity, now: SystemTime) -> bool {
    let check = || {
        let certificate = matching(server)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(&ca.cert_pem)?, provider())
                .build()
                .ok()?;
        for name in ["127.0.0.1", "::1"].iter().chain(&issue::SERVER_NAMES) {
            let name = (*name).try_into().ok()?;
            verifier
                .verify_server_cert(&certificate, &[], &name, &[], later(now)?)
                .ok()?;
        }
        Some(())
    };
    check().is_some()
}

fn client_is_good(ca: &Identity, client: &Identity, now: SystemTime) -> bool {
    let check = || {
        let der = matching(client)?;
        client_verifier(&ca.cert_pem)?
            .verify_client_cert(&der, &[], later(now)?)
            .ok()?;
        let subject = certificate::subject(&der)?;
        let groups = subject.organizations;
        groups.iter().any(|g| g == User::MASTERS).then_some(())
    };
    check().is_some()
}

fn read_identity(dir: &Path, name: &str) -> Option<Identity> {
    let read = |extension: &str| {
        let path = dir.join(format!("{name}.{extension}"));
        let small = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_PEM);
        small.then(|| fs::read_to_string(&path).ok()).flatten()
    };
    Some(Identity {
        cert_pem: read("crt")?,
        key_pem: read("key")?,
    })
}

fn write_identity(dir: &Path, name: &str, identity: Identity) -> Result<Identity, PkiError> {
    tracing::info!(dir = %dir.display(), name, "issued a certificate");
    write_private(&dir.join(format!("{name}.key")), &identity.key_pem)?;
    process::crash::point("pki.after-key");
    write_private(&dir.join(format!("{name}.crt")), &identity.cert_pem)?;
    Ok(identity)
}

fn make_private_dir(dir: &Path) -> Result<(), PkiError> {
    let error = |source| PkiError::File {
        doing: "create the certificate folder",
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(error)?;
    set_private_dir(dir).map_err(error)
}

/// Writes a temporary file, syncs it and renames it, so that a crash leaves the old file or the new one.
fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = create_private(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        process::crash::point("pki.after-write");
        fs::rename(&temporary, path)
    };
    write().map_err(|source| PkiError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(unix)]
fn set_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

// On Windows the profile folder of a user is private, and files inherit that.
#[cfg(windows)]
fn create_private(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
}

#[cfg(windows)]
fn set_private_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn certificates_stay_valid_with_a_clock_years_off() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let pki = Pki::load_or_create(folder.path(), now).unwrap();
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for clock in [
            DAY,
            since_1970 - 3 * DAY,
            since_1970,
            since_1970 + 1800 * DAY,
        ] {
            let clock = UnixTime::since_unix_epoch(clock);
            let admin = matching(&pki.admin).unwrap();
            client_verifier(&pki.ca_pem)
                .unwrap()
                .verify_client_cert(&admin, &[], clock)
                .unwrap();
            WebPkiServerVerifier::builder_with_provider(roots(&pki.ca_pem).unwrap(), provider())
                .build()
                .unwrap()
                .verify_server_cert(
                    &matching(&pki.server).unwrap(),
                    &[],
                    &"127.0.0.1".try_into().unwrap(),
                    &[],
                    clock,
                )
                .unwrap();
        }
        // A daemon that starts with such a clock keeps them.
        for clock in [now - 10_000 * DAY, now + 3 * 365 * DAY] {
            let again = Pki::load_or_create(folder.path(), clock).unwrap();
            assert_eq!(again.ca_pem, pki.ca_pem);
            assert_eq!(again.server.cert_pem, pki.server.cert_pem);
            assert_eq!(again.admin.cert_pem, pki.admin.cert_pem);
        }
    }
}
