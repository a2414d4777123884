//! `rdd limavm`: virtual machines, through the API that every client uses.

mod create;
mod delete;
mod describe;
mod edit;
mod find;
mod greeting;
mod list;
mod logs;
mod name;
mod no_folder;
mod orphan;
mod power;
mod progress;
mod session;
mod shell;
mod state;
mod template;
mod wait;

use std::time::{Duration, Instant};

use self::session::Session;
use crate::cli::LimaVm;
use crate::context::Context;
use crate::duration::Timeout;
use crate::exit::{Exit, Failure};
use crate::service;

/// The timeout for commands that do not wait for a VM. Each API call takes milliseconds.
const CALLS: Timeout = Timeout(Some(Duration::from_secs(30)));

/// Runs a command of `rdd limavm`.
pub(crate) fn run(command: LimaVm, context: &Context) -> anyhow::Result<Exit> {
    match command {
        // These two use only the VM's files, so they work while the control plane is stopped.
        LimaVm::Shell {
            workdir,
            name,
            command,
        } => shell::run(context, &name, workdir.as_deref(), &command),
        LimaVm::Logs { name, logs } => logs::run(context, &name, logs).map(|()| Exit::Success),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(through_the_api(command, context))
                .map(|()| Exit::Success)
        }
    }
}

async fn through_the_api(command: LimaVm, context: &Context) -> anyhow::Result<()> {
    // The template is read before the control plane is started, so that a wrong path is reported at once.
    let source = match &command {
        LimaVm::Create {
            name,
            template,
            strict,
            allow_local_files,
            ..
        } => {
            name::check(name)?;
            let rules = template::Rules {
                strict: *strict,
                allow_local_files: *allow_local_files,
            };
            Some(template::resolve(template, rules)?)
        }
        _ => None,
    };
    let client = service::client::connect(context).await?;
    let session = Session { context, client };
    let limit = match &command {
        // No timeout, because a person edits the template meanwhile.
        LimaVm::Edit { .. } => Timeout(None),
        command => command
            .wait()
            .filter(|wait| wait.wait)
            .map_or(CALLS, |wait| wait.timeout),
    };
    // The deadline is enforced here, because a server can stall (hazard 44).
    let deadline = limit.deadline();
    let what_goes_on = what_goes_on(&command);
    let done = run_command(command, source, &session, deadline);
    tokio::select! {
        result = tokio::time::timeout_at(deadline.into(), done) => match result {
            Ok(result) => result,
            Err(_) => Err(Failure::deadline("waiting for the control plane to answer").into()),
        },
        advice = interrupted(what_goes_on) => Err(Failure::interrupted(format_args!(
            "interrupted: this command stops waiting, and what it requested continues; {advice}"
        ))
        .into()),
    }
}

/// The advice for a user who interrupts a waiting command: how to follow or undo what it requested.
fn what_goes_on(command: &LimaVm) -> Option<String> {
    command.wait().filter(|wait| wait.wait)?;
    let (name, undo) = match command {
        LimaVm::Create { name, .. } => (name, "delete"),
        LimaVm::Start { name, .. } | LimaVm::Restart { name, .. } => (name, "stop"),
        LimaVm::Stop { name, .. } | LimaVm::Delete { name, .. } => (name, ""),
        _ => return None,
    };
    let follow = format!("`rdd limavm describe {name}` shows how far it is");
    Some(match undo {
        "" => follow,
        undo => format!("{follow}, `rdd limavm {undo} {name}` takes it back"),
    })
}

/// Waits for Ctrl-C and returns the message for it. The signal ends a command that does not wait.
async fn interrupted(advice: Option<String>) -> String {
    if let Some(advice) = advice
        && tokio::signal::ctrl_c().await.is_ok()
    {
        return advice;
    }
    std::future::pending().await
}

async fn run_command(
    command: LimaVm,
    source: Option<template::Source>,
    session: &Session<'_>,
    deadline: Instant,
) -> anyhow::Result<()> {
    let deadline = command.wait().filter(|wait| wait.wait).map(|_| deadline);
    match (command, source) {
        (
            LimaVm::Create {
                name,
                namespace,
                start,
                dry_run,
                ..
            },
            Some(source),
        ) => {
            let wanted = create::Wanted {
                name: &name,
                namespace: &namespace,
                start,
                dry_run,
            };
            create::run(session, &wanted, &source, deadline).await
        }
        (LimaVm::Start { name, .. }, _) => power::start(session, &name, deadline).await,
        (LimaVm::Stop { name, grace, .. }, _) => {
            power::stop(session, &name, grace.chosen(), deadline).await
        }
        (LimaVm::Restart { name, grace, .. }, _) => {
            power::restart(session, &name, grace.chosen(), deadline).await
        }
        (LimaVm::Delete { name, grace, .. }, _) => {
            delete::run(session, &name, grace.chosen(), deadline).await
        }
        (LimaVm::List, _) => list::run(session).await,
        (LimaVm::Adopt { name }, _) => orphan::adopt(session, &name).await,
        (LimaVm::Describe { name }, _) => describe::run(session, &name).await,
        (LimaVm::Edit { name }, _) => edit::run(&session.client, session.context, &name).await,
        (LimaVm::Create { .. } | LimaVm::Shell { .. } | LimaVm::Logs { .. }, _) => Ok(()),
    }
}
