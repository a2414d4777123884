//! A client of the daemon's API, through the kubeconfig like any other.

use std::io;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::context::Context;
use crate::exit::Failure;
use crate::service::start;

/// HTTP's "forbidden", what admission answers unless it says otherwise.
const FORBIDDEN: u16 = 403;
/// HTTP's "unprocessable", what a schema or a strategy answers.
const INVALID: u16 = 422;
/// How Kubernetes begins the message of a refusal by a webhook, which may choose any code.
const WEBHOOK: &str = "admission webhook";

/// A client, once the daemon is ready; starts it when needed.
pub(crate) async fn connect(context: &Context) -> anyhow::Result<kube::Client> {
    start::ensure(context)?;
    open(context).await
}

/// A client of whatever listens, ready or not. Nothing is started, and nothing asked yet.
pub(crate) async fn open(context: &Context) -> anyhow::Result<kube::Client> {
    let file = context.paths.config();
    let doing = || format!("cannot use the kubeconfig {}", file.display());
    let kubeconfig = Kubeconfig::read_from(&file).with_context(doing)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .with_context(doing)?;
    // The API is on this host. A proxy for the web has no business between.
    config.proxy_url = None;
    let builder = kube::client::ClientBuilder::try_from(config).with_context(doing)?;
    let layer = tower::util::MapResponseLayer::new(tell_warnings);
    Ok(builder.with_layer(&layer).build())
}

/// What admission lets through with a "but" is in headers of the answer, which a client has to show by itself.
fn tell_warnings<B>(answer: http::Response<B>) -> http::Response<B> {
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

/// An answer of the API as an error of this program, with the exit code that it stands for.
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
    fn a_warning_is_read_as_kubectl_reads_it() {
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
