//! One GET at a time over HTTP, with limits.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use url::{Host, Url};

/// Limits of downloads. The defaults are for users; tests take shorter ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For name resolution, and for the connection.
    pub connect: Duration,
    /// From the request to the answer's head: mirrors may look for the file first.
    pub answer: Duration,
    /// A connection on which nothing arrives for so long is given up, and the download goes on with another.
    pub stall: Duration,
    /// So many attempts in a row that bring nothing end a download.
    pub attempts: u32,
    /// Pause before the second attempt; doubles up to [`Limits::MAX_PAUSE`].
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

/// Redirects that are followed: a mirror network takes two or three.
const MAX_REDIRECTS: u32 = 10;

/// What a request says beside the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Go on from this byte, if the file is still the one that [`Conditions::validator`] names.
    pub(crate) from: u64,
    /// An ETag or a date, for `If-Range`.
    pub(crate) validator: Option<String>,
    /// Answer 304 if the ETag is still this one.
    pub(crate) none_match: Option<String>,
    /// Answer 304 if the file is not newer.
    pub(crate) modified_since: Option<String>,
}

/// The head of an answer, and its body to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) status_text: String,
    /// Bytes of this body.
    pub(crate) length: Option<u64>,
    /// First byte and total of `Content-Range`.
    pub(crate) range: Option<(u64, Option<u64>)>,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Box<dyn Read + Send>,
}

/// Makes requests.
#[derive(Debug, Clone)]
pub(crate) struct Client(ureq::Agent);

impl Client {
    /// Certificates are checked by the system's own rules; proxies come from the system's variables.
    pub(crate) fn new(limits: &Limits, https_only: bool, url: &Url) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        // A proxy cannot reach what listens on our own loopback address.
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
            // A connection is used once: the next request is seconds or an error away.
            .max_idle_connections(0)
            .build();
        Self(config.new_agent())
    }

    /// Ends all connections, also those that a read waits on; requests fail from then on.
    pub(crate) fn shutdown(&self) {
        self.0.clone().shutdown();
    }

    pub(crate) fn get(&self, url: &str, conditions: &Conditions) -> Result<Answer, ureq::Error> {
        // The bytes as they are: a digest is over the file and not over its transfer.
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

/// `bytes 5-9/10`, or `bytes */10` when the range is not in the file.
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
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), Some((10, Some(10))));
        for text in ["", "bytes", "bytes x-1/2", "items 1-2/3", "bytes */*"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
