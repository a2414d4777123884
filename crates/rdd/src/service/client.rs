//! A client of the daemon's API. It uses the kubeconfig, as every client does.

use std::io;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::context::Context;
use crate::exit::Failure;
use crate::service::start;

/// HTTP's "forbidden", the default code of admission.
const FORBIDDEN: u16 = 403;
/// HTTP's "unprocessable", the code of schemas and strategies.
const INVALID: u16 = 422;
/// The beginning of the message when a webhook refuses an object. A webhook may choose any code.
const WEBHOOK: &str = "admission webhook";

/// Returns a client once the daemon is ready, and starts the daemon if needed.
pub(crate) async fn connect(context: &Context) -> anyhow::Result<kube::Client> {
    start::ensure(context)?;
    open(context).await
}

/// Returns a client without starting the daemon or sending a request.
pub(crate) async fn open(context: &Context) -> anyhow::Result<kube::Client> {
    let file = context.paths.config();
    let doing = || format!("cannot use the kubeconfig {}", file.display());
    let kubeconfig = Kubeconfig::read_from(&file).with_context(doing)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .with_context(doing)?;
    // The API is on this host, so proxies do not apply.
    config.proxy_url = None;
    let builder = kube::client::ClientBuilder::try_from(config).with_context(doing)?;
    let layer = tower::util::MapResponseLayer::new(log_warnings);
    Ok(builder.with_layer(&layer).build())
}

/// Logs the warnings of admission, which are in headers of the response.
fn log_warnings<B>(answer: http::Response<B>) -> http::Response<B> {
    for value in answer.headers().get_all(http::header::WARNING) {
        if let Some(text) = value.to_str().ok().and_then(warning) {
            tracing::warn!("{text}");
        }
    }
    answer
}

/// The text of a Warning header, `299 - "TEXT"` (RFC 9111 5.5, and kubectl's reading of it).
fn warning(header: &str) -> Option<String> {
    let quoted = header
        .strip_prefix("299 ")?
        .split_once('"')?
        .1
        .strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// The kubeconfig as the daemon wrote it.
pub(crate) fn kubeconfig(context: &Context) -> anyhow::Result<String> {
    let file = context.paths.config();
    std::fs::read_to_string(&file).map_err(|error: io::Error| {
        anyhow::Error::from(error).context(format!("cannot read the kubeconfig {}", file.display()))
    })
}

/// Converts an error of the API into an error of this program, with its exit code.
pub(crate) fn refused(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status)
            if matches!(status.code, FORBIDDEN | INVALID) || status.message.contains(WEBHOOK) =>
        {
            Failure::rejected(status.message).into()
        }
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_parsed_as_kubectl_does() {
        for (header, text) in [
            (r#"299 - "mounts: ignored""#, Some("mounts: ignored")),
            (
                r#"299 - "the user \"root\" is C:\\x""#,
                Some(r#"the user "root" is C:\x"#),
            ),
            (r#"199 - "old""#, None),
            ("299", None),
        ] {
            assert_eq!(warning(header).as_deref(), text, "{header}");
        }
    }
}
