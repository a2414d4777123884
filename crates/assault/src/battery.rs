//! All trials, one after another.

use std::sync::Arc;
use std::time::Instant;

use testutils::Instance;

use crate::owner::{Experience, Owner};
use crate::plane::Plane;
use crate::trial::{Report, Trial, Verdict};
use crate::{Options, connections, files, fuzz, requests};

pub(crate) fn run_all(options: &Options) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(all(options))
}

async fn all(options: &Options) -> Result<Report, String> {
    let mut trials = requests::trials();
    trials.extend(connections::trials(options.connections));
    trials.push(fuzz::trial(options.seed, options.fuzz));
    trials.extend(files::trials());
    if let Some(only) = &options.only {
        trials.retain(|trial| trial.name.contains(only.as_str()));
    }
    let mut report = Report::default();
    let mut plane = Plane::start(Instance::new(&options.binary)).await?;
    for trial in trials {
        let (verdict, after) = one(options, trial, plane).await?;
        (options.print)(&verdict.to_string());
        report.verdicts.push(verdict);
        plane = after;
    }
    Ok(report)
}

/// Runs one trial; the daemon runs again when it returns.
async fn one(options: &Options, trial: Trial, plane: Plane) -> Result<(Verdict, Plane), String> {
    let Trial {
        name,
        run,
        stops_daemon,
    } = trial;
    let plane = Arc::new(plane);
    plane.reset_peak();
    let started = Instant::now();
    let owner = (!stops_daemon).then(|| Owner::arrive(&plane));
    let mut failures: Vec<String> = run(Arc::clone(&plane)).await.err().into_iter().collect();
    let took = started.elapsed();
    let seen = match owner {
        Some(owner) => owner.leave().await,
        None => Experience::default(),
    };
    let memory = plane.memory();
    if !stops_daemon {
        failures.extend(seen.failure);
        if seen.longest > options.owner_limit {
            failures.push(format!("the owner waited {:?}", seen.longest));
        }
        if !plane.is_alive() {
            failures.push("the daemon ended".to_owned());
        }
    }
    if let Some((peak, _)) = memory.filter(|(peak, _)| *peak > options.memory_limit) {
        failures.push(format!("the daemon took {} MiB", peak >> 20));
    }
    let alive = plane.is_alive();
    let plane = Arc::into_inner(plane).ok_or("a trial left a task behind")?;
    let plane = if !failures.is_empty() {
        // What failed may have damaged the instance, which would fail the trials after it too.
        drop(plane);
        Plane::start(Instance::new(&options.binary)).await?
    } else if alive && !stops_daemon {
        plane
    } else {
        plane.start_again().await?
    };
    let verdict = Verdict {
        name,
        failures,
        peak: memory.map(|(peak, _)| peak),
        owner_waited: seen.longest,
        took,
    };
    Ok((verdict, plane))
}
