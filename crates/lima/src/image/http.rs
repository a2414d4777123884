//! HTTP requests with limits.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use url::{Host, Url};

/// Limits of downloads. Tests use shorter ones than the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For name resolution, and again for the connection.
    pub connect: Duration,
    /// From the request to the head of the reply. Mirrors may have to look for the file.
    pub answer: Duration,
    /// A connection without data for this time is closed, and the download continues on another one.
    pub stall: Duration,
    /// The number of consecutive attempts without progress after which a download fails.
    pub attempts: u32,
    /// The pause before the second attempt. It doubles up to [`Limits::MAX_PAUSE`].
    pub pause: Duration,
}

impl Limits {
    /// The longest pause between two attempts.
    pub const MAX_PAUSE: Duration = Duration::from_secs(16);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// The redirects that are followed. A mirror network has two or three.
const MAX_REDIRECTS: u32 = 10;

/// The conditions of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// The first byte of the range, if the file matches [`Conditions::validator`].
    pub(crate) from: u64,
    /// An ETag or a date, for `If-Range`.
    pub(crate) validator: Option<String>,
    /// The ETag for which the server replies 304.
    pub(crate) none_match: Option<String>,
    /// The date since which a file must have changed; otherwise the server replies 304.
    pub(crate) modified_since: Option<String>,
}

/// The head of a reply, and its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) status_text: String,
    /// The length of this body in bytes.
    pub(crate) length: Option<u64>,
    /// The first byte and the total of `Content-Range`.
    pub(crate) range: Option<(u64, Option<u64>)>,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Box<dyn Read + Send>,
}

/// An HTTP client.
#[derive(Debug, Clone)]
pub(crate) struct Client(ureq::Agent);

impl Client {
    /// Returns a client that verifies certificates by the system's rules and uses the proxies of the environment.
    pub(crate) fn new(limits: &Limits, https_only: bool, url: &Url) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        // A proxy cannot reach a server on this machine's loopback address.
        let proxy = if is_loopback(url) {
            None
        } else {
            ureq::Proxy::try_from_env()
        };
        let config = ureq::Agent::config_builder()
            .proxy(proxy)
            .tls_config(tls)
            .https_only(https_only)
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(concat!("rdd/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall))
            // A connection is used only once, because the next request comes seconds later or after an error.
            .max_idle_connections(0)
            .build();
        Self(config.new_agent())
    }

    /// Closes all connections, also those that are being read. Later requests fail.
    pub(crate) fn shutdown(&self) {
        self.0.clone().shutdown();
    }

    pub(crate) fn get(&self, url: &str, conditions: &Conditions) -> Result<Answer, ureq::Error> {
        // Without content encoding, because a digest is of the file as it is on the server.
        let mut request = self.0.get(url).header("Accept-Encoding", "identity");
        if conditions.from > 0 {
            request = request.header("Range", format!("bytes={}-", conditions.from));
            if let Some(validator) = &conditions.validator {
                request = request.header("If-Range", validator);
            }
        }
        if let Some(etag) = &conditions.none_match {
            request = request.header("If-None-Match", etag);
        }
        if let Some(date) = &conditions.modified_since {
            request = request.header("If-Modified-Since", date);
        }
        let response = request.call()?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let status = response.status();
        let answer = Answer {
            status: status.as_u16(),
            status_text: status.to_string(),
            length: header("content-length").and_then(|text| text.trim().parse().ok()),
            range: header("content-range").and_then(|text| content_range(&text)),
            etag: header("etag"),
            modified: header("last-modified"),
            content_type: header("content-type"),
            body: Box::new(std::io::empty()),
        };
        Ok(Answer {
            body: Box::new(response.into_body().into_reader()),
            ..answer
        })
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Parses `bytes 5-9/10`, or `bytes */10` for a range outside of the file.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let total = total.parse().ok();
    match range {
        "*" => Some((total?, total)),
        _ => Some((range.split_once('-')?.0.parse().ok()?, total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_parsed() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), Some((10, Some(10))));
        for text in ["", "bytes", "bytes x-1/2", "items 1-2/3", "bytes */*"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
