//! Issues certificates. The authority's name and key identifier follow from its key, so an existing authority can
//! issue without its certificate being parsed.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::{Identity, PkiError};
use crate::access::user::User;

const DAY: i64 = 24 * 3600;
/// How long the authority is valid.
const CA_DAYS: i64 = 3650;
/// How long server and client certificates are valid. A thief of their keys could also take the authority's key from
/// the same folder, so a short validity would not protect; it would only make a clock that runs ahead fatal.
const LEAF_DAYS: i64 = 1825;
/// Valid from the Unix epoch, so that a clock set back does not invalidate a certificate: the clocks of client and
/// server may differ, and a computer with an empty battery starts in the past and is corrected while the daemon runs.
const NOT_BEFORE: SystemTime = SystemTime::UNIX_EPOCH;

fn failed(which: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |error| PkiError::Issue {
        which,
        message: error.to_string(),
    }
}

fn params(
    now: SystemTime,
    days: i64,
    common_name: &str,
    organization: Option<&str>,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = NOT_BEFORE.into();
    params.not_after = (now + std::time::Duration::from_secs((days * DAY) as u64)).into();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params
}

fn ca_params(now: SystemTime, key: &KeyPair) -> CertificateParams {
    // The name contains a part of the key, so that clients that trust several authorities never confuse them.
    let tail: String = key
        .public_key_raw()
        .iter()
        .rev()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut ca = params(now, CA_DAYS, &format!("rdd-ca-{tail}"), None);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca
}

/// Creates a new authority.
pub(super) fn authority(now: SystemTime) -> Result<Identity, PkiError> {
    let error = failed("authority's");
    let key = KeyPair::generate().map_err(&error)?;
    let cert = ca_params(now, &key).self_signed(&key).map_err(&error)?;
    Ok(Identity {
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn leaf(
    which: &'static str,
    authority: &Identity,
    now: SystemTime,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
) -> Result<Identity, PkiError> {
    let error = failed(which);
    let ca_key = KeyPair::from_pem(&authority.key_pem).map_err(&error)?;
    let issuer = Issuer::new(ca_params(now, &ca_key), ca_key);
    let key = KeyPair::generate().map_err(&error)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, &issuer).map_err(&error)?;
    Ok(Identity {
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// The names of the server.
pub(super) const SERVER_NAMES: [&str; 6] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "rdd",
];

pub(super) fn server(authority: &Identity, now: SystemTime) -> Result<Identity, PkiError> {
    let mut params = params(now, LEAF_DAYS, "rdd-apiserver", None);
    for name in SERVER_NAMES {
        let name = name.try_into().map_err(failed("server's"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for address in [
        std::net::IpAddr::from([127, 0, 0, 1]),
        std::net::Ipv6Addr::LOCALHOST.into(),
    ] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    leaf(
        "server's",
        authority,
        now,
        params,
        ExtendedKeyUsagePurpose::ServerAuth,
    )
}

pub(super) fn client(
    authority: &Identity,
    now: SystemTime,
    user: &User,
) -> Result<Identity, PkiError> {
    let params = params(
        now,
        LEAF_DAYS,
        &user.name,
        user.groups.first().map(String::as_str),
    );
    leaf(
        "client's",
        authority,
        now,
        params,
        ExtendedKeyUsagePurpose::ClientAuth,
    )
}
