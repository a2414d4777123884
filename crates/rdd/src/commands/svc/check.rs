//! `rdd svc check`.

use anyhow::{Context as _, bail};
use process::FileLock;
use store::{IndexedStore, Options, Store as _};

use crate::context::Context;
use crate::duration::Timeout;
use crate::logging::ANSWER;
use crate::service::check_request::{self, CheckReport, CheckRequest, PATH};
use crate::service::client;
use crate::service::state::State;

/// Lists the damaged rows of the database, after it has restored or deleted those of the request. Fails when some are
/// left.
pub(crate) fn run(
    context: &Context,
    request: &CheckRequest,
    timeout: Timeout,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = if State::of(&context.paths)?.is_running() {
        runtime.block_on(ask_daemon(context, request))?
    } else {
        let database = context.paths.database();
        if !database.exists() {
            context.report("has no database");
            return Ok(());
        }
        // So that no daemon starts meanwhile.
        let label = format!("a check of {}", context.instance);
        let _lock = FileLock::acquire(&context.paths.lock(), &label, timeout.deadline())?;
        let options = Options {
            backups: None,
            ..Options::default()
        };
        let store = IndexedStore::sqlite(&database, options)?;
        runtime.block_on(async {
            let report = check_request::apply(&store, request).await;
            store.close().await;
            report
        })?
    };
    show(context, &report)
}

async fn ask_daemon(context: &Context, request: &CheckRequest) -> anyhow::Result<CheckReport> {
    let client = client::open(context).await?;
    let post = http::Request::post(PATH)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(request)?)?;
    match client.request::<CheckReport>(post).await {
        Ok(report) => Ok(report),
        Err(kube::Error::Api(status)) => bail!("{}", status.message),
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot ask \"{}\" control plane to check its database",
                context.instance
            )
        }),
    }
}

fn show(context: &Context, report: &CheckReport) -> anyhow::Result<()> {
    for problem in &report.problems {
        tracing::info!(target: ANSWER, "found at the last start: {problem}");
    }
    if let Some(kept) = &report.kept {
        tracing::info!(target: ANSWER, "the damaged database is kept at {kept}");
    }
    for row in &report.damaged {
        tracing::info!(target: ANSWER, "damaged row {}: {:?}: {}", row.id, row.key, row.problem);
    }
    if report.damaged.is_empty() {
        context.report("has no damaged rows");
        return Ok(());
    }
    bail!(
        "\"{}\" control plane has {} damaged rows; `rdd svc check --restore ID` restores one from the last backup, \
         and `rdd svc check --delete ID` deletes one",
        context.instance,
        report.damaged.len()
    )
}
