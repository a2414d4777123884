//! Reads X.509 certificates (RFC 5280) with x509-parser. Only certificates whose signature rustls has verified, or
//! that this program made, come here.

use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// The parts of a certificate's subject that name a user.
pub(crate) struct Subject {
    pub(crate) common_name: String,
    pub(crate) organizations: Vec<String>,
}

/// Returns the subject; `None` if the certificate cannot be parsed, has trailing bytes, has no common name or more
/// than one, or names something that is not text.
pub(crate) fn subject(certificate: &[u8]) -> Option<Subject> {
    let certificate = parse(certificate)?;
    let subject = certificate.subject();
    let texts = |attributes: Vec<_>| -> Option<Vec<String>> {
        let attributes = attributes.into_iter();
        attributes
            .map(|attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
                attribute.as_str().ok().map(Into::into)
            })
            .collect()
    };
    let mut names = texts(subject.iter_common_name().collect())?;
    let organizations = texts(subject.iter_organization().collect())?;
    let common_name = names.pop()?;
    names.is_empty().then_some(Subject {
        common_name,
        organizations,
    })
}

/// Returns when the certificate expires, in seconds since 1970.
pub(crate) fn not_after(certificate: &[u8]) -> Option<i64> {
    Some(parse(certificate)?.validity().not_after.timestamp())
}

fn parse(certificate: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    rest.is_empty().then_some(certificate)
}
