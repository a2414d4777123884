//! Authentication by client certificate.

use super::user::User;
use crate::pki::certificate;

/// Returns the user of a TLS connection: the subject of the client certificate, which rustls has verified. `None`:
/// the client sent no certificate.
pub(crate) fn user_of(connection: &rustls::ServerConnection) -> Option<User> {
    let certificate = connection.peer_certificates()?.first()?;
    let subject = certificate::subject(certificate)?;
    let mut groups = subject.organizations;
    groups.push(User::AUTHENTICATED.into());
    Some(User {
        name: subject.common_name,
        groups,
    })
}
