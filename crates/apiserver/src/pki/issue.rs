//! Makes certificates. The authority's name and key identifier follow from its key, so a kept authority can issue
//! again without its certificate being parsed.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::{Identity, PkiError};
use crate::user::User;

const DAY: i64 = 24 * 3600;
/// How long the authority is good for.
const CA_DAYS: i64 = 3650;
/// How long server and client certificates are good for. Who could steal their keys could as well take the authority's
/// from the same folder, so a short life would protect nobody, and would refuse all when a clock goes ahead.
const LEAF_DAYS: i64 = 1825;
/// Good since ever: clocks of client and server may differ, and a computer whose battery was empty starts in the past and
/// is set right while the daemon runs. What was issued in the future of such a clock must not be refused.
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
    // The name holds a piece of the key, so that clients that trust several authorities never mix them up.
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

/// A new authority.
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

/// The names under which the server is reached.
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
