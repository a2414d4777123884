//! The kubeconfig of the instance, and the renewal of its certificates while the daemon runs.

use std::path::PathBuf;
use std::time::SystemTime;

use apiserver::pki::{Pki, Renewal};

use crate::context::Context;

/// The kubeconfig of the instance.
#[derive(Clone)]
pub(super) struct Kubeconfig {
    file: PathBuf,
    server: String,
    context: String,
}

impl Kubeconfig {
    pub(super) fn of(context: &Context, port: u16) -> Self {
        Self {
            file: context.paths.config(),
            server: format!("https://127.0.0.1:{port}"),
            context: context.instance.to_string(),
        }
    }

    /// Writes the file unless it has the right content already: a durable write costs milliseconds.
    pub(super) fn write(&self, pki: &Pki) -> anyhow::Result<()> {
        let text = pki.kubeconfig(&self.server, &self.context);
        let current = std::fs::read_to_string(&self.file).ok();
        if current.as_deref() != Some(text.as_str()) {
            process::file::write_atomic(&self.file, text.as_bytes(), 0o600)?;
        }
        Ok(())
    }
}

/// Renews the certificates before they expire, and writes the kubeconfig again. Runs until it is dropped.
pub(super) async fn keep_valid(mut renewal: Renewal, kubeconfig: Kubeconfig) {
    loop {
        tokio::time::sleep(Renewal::INTERVAL).await;
        let kubeconfig = kubeconfig.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let outcome = match renewal.check(SystemTime::now()) {
                Ok(Some(pki)) => kubeconfig.write(pki),
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            (renewal, outcome)
        });
        match checked.await {
            Ok((returned, outcome)) => {
                renewal = returned;
                if let Err(error) = outcome {
                    tracing::error!(
                        "cannot renew the certificates of the API; trying again: {error:#}"
                    );
                }
            }
            Err(error) => {
                tracing::error!("the renewal of the certificates failed and stops: {error}");
                return;
            }
        }
    }
}
