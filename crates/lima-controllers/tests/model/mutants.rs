//! Plans and worlds with one defect each. The checker must find every one of them; otherwise its properties are too weak.

use lima_controllers::limavm::plan::{
    Action, Agent, Desired, Fate, Files, Job, Machine, Observed, Stop, lives, plan,
};

use crate::checker::{Bound, Why, check};
use crate::world::{Broken, Flaw, Request, Rules, World};

type Plan = fn(&Desired, &Observed) -> Action;

/// The defect, the plan with it, and the violation that must follow.
fn wrong_plans() -> Vec<(&'static str, Plan, Why)> {
    use Why::{Broken as Is, NeverSettles};
    vec![
        (
            "files are deleted although a machine is observed",
            |desired, observed| match (desired.fate, observed.files) {
                (Fate::Delete, Files::Current) if observed.job.is_none() => Action::DeleteFiles,
                _ => plan(desired, observed),
            },
            Is(Broken::KilledUnasked),
        ),
        (
            "a hostagent is started while one is silent",
            |desired, observed| match observed.agent {
                Agent::Silent if plan(desired, observed) == Action::Wait => Action::Start,
                _ => plan(desired, observed),
            },
            Is(Broken::TwoAgents),
        ),
        (
            "a hostagent is started while the state of the lock is unknown",
            |desired, observed| match observed.agent {
                Agent::Unknown if observed.job.is_none() => Action::Start,
                _ => plan(desired, observed),
            },
            Is(Broken::TwoAgents),
        ),
        (
            "an overdue stop is forgotten",
            |desired, observed| {
                let stop = match observed.stop {
                    Stop::Overdue => Stop::Asked,
                    other => other,
                };
                plan(desired, &Observed { stop, ..*observed })
            },
            NeverSettles,
        ),
        (
            "an object is released while there are files",
            |desired, observed| match (desired.fate, lives(observed)) {
                (Fate::Delete, false) if observed.job.is_none() => Action::Release,
                _ => plan(desired, observed),
            },
            Is(Broken::ReleasedTooEarly),
        ),
        (
            "an object is released while an interrupted deletion has left files",
            |desired, observed| {
                let remains = false;
                plan(
                    desired,
                    &Observed {
                        remains,
                        ..*observed
                    },
                )
            },
            Is(Broken::ReleasedTooEarly),
        ),
        (
            "an unknown state leads to a kill at once",
            |desired, observed| match (plan(desired, observed), observed.machine) {
                (Action::Wait, Machine::Unknown)
                    if observed.agent == Agent::Absent
                        && observed.job.is_none()
                        && !observed.held_back =>
                {
                    Action::Kill
                }
                (action, _) => action,
            },
            Is(Broken::KilledUnasked),
        ),
        (
            "a hung hostagent is waited for while its VM should run",
            |desired, observed| match plan(desired, observed) {
                Action::EndAgent => Action::Wait,
                other => other,
            },
            NeverSettles,
        ),
        (
            "a hung hostagent is killed with the guest that should run",
            |desired, observed| match plan(desired, observed) {
                Action::EndAgent => Action::Kill,
                other => other,
            },
            Is(Broken::KilledThoughWanted),
        ),
        (
            "a machine that cannot be adopted is never given up",
            |desired, observed| {
                let hopeless = observed.hopeless && observed.agent != Agent::Absent;
                plan(
                    desired,
                    &Observed {
                        hopeless,
                        ..*observed
                    },
                )
            },
            NeverSettles,
        ),
        (
            "a machine without hostagent is killed instead of asked",
            |desired, observed| match (plan(desired, observed), observed.machine) {
                (Action::Start, Machine::Alive) if !desired.running => Action::Kill,
                (action, _) => action,
            },
            Is(Broken::KilledUnasked),
        ),
        (
            "a changed template waits for a restart that is not requested",
            |desired, observed| match observed.files {
                Files::Outdated if desired.fate == Fate::Keep && lives(observed) => Action::Rest,
                _ => plan(desired, observed),
            },
            Is(Broken::Dawdled),
        ),
        (
            "a VM is started with an outdated template",
            |desired, observed| {
                let files = match observed.files {
                    Files::Outdated => Files::Current,
                    other => other,
                };
                plan(desired, &Observed { files, ..*observed })
            },
            Is(Broken::StartedUnwanted),
        ),
        (
            "a restart is done before the VM is down",
            |desired, observed| match desired.restart {
                true if observed.job.is_none() && desired.fate == Fate::Keep => Action::RestartDone,
                _ => plan(desired, observed),
            },
            Is(Broken::RequestLost),
        ),
        (
            "a reset is done before the files are gone",
            |desired, observed| match desired.fate {
                Fate::Reset if observed.job.is_none() => Action::ResetDone,
                _ => plan(desired, observed),
            },
            Is(Broken::RequestLost),
        ),
        (
            "a shutdown keeps the VMs up",
            |desired, observed| {
                let leaving = desired.leaving && !lives(observed);
                plan(
                    &Desired {
                        leaving,
                        ..*desired
                    },
                    observed,
                )
            },
            Is(Broken::Dawdled),
        ),
        (
            "a VM that is down while its template changes is started once more with the old one",
            |desired, observed| match observed.files {
                Files::Outdated if !lives(observed) && desired.running && !desired.restart => {
                    let files = Files::Current;
                    plan(desired, &Observed { files, ..*observed })
                }
                _ => plan(desired, observed),
            },
            Is(Broken::StartedUnwanted),
        ),
        (
            "a restart is done before the changed template is written",
            |desired, observed| match observed.files {
                Files::Outdated if desired.restart && !lives(observed) => {
                    let files = Files::Current;
                    plan(desired, &Observed { files, ..*observed })
                }
                _ => plan(desired, observed),
            },
            Is(Broken::RequestLost),
        ),
        (
            "a VM that has its template is restarted once more",
            |desired, observed| match (observed.agent, observed.stop) {
                (Agent::Booting, Stop::NotAsked)
                    if desired.running && observed.files == Files::Current =>
                {
                    Action::AskToStop
                }
                _ => plan(desired, observed),
            },
            Is(Broken::StoppedThoughWanted),
        ),
        (
            "a changed template waits for the end of a boot",
            |desired, observed| match (observed.agent, observed.files) {
                (Agent::Booting, Files::Outdated) if observed.job.is_none() => Action::Wait,
                _ => plan(desired, observed),
            },
            Is(Broken::Dawdled),
        ),
        (
            "a changed template is written during a shutdown",
            |desired, observed| match observed.files {
                Files::Outdated
                    if desired.leaving && !lives(observed) && observed.job.is_none() =>
                {
                    let leaving = false;
                    plan(
                        &Desired {
                            leaving,
                            ..*desired
                        },
                        observed,
                    )
                }
                _ => plan(desired, observed),
            },
            Is(Broken::BegunWhileLeaving),
        ),
        (
            "a VM is prepared during a shutdown",
            |desired, observed| match observed.files {
                Files::Absent if desired.leaving && observed.job.is_none() => {
                    let leaving = false;
                    plan(
                        &Desired {
                            leaving,
                            ..*desired
                        },
                        observed,
                    )
                }
                _ => plan(desired, observed),
            },
            Is(Broken::BegunWhileLeaving),
        ),
        (
            "a shutdown waits for a preparation",
            |desired, observed| match plan(desired, observed) {
                Action::CancelPrepare if desired.leaving => Action::Wait,
                other => other,
            },
            Is(Broken::Dawdled),
        ),
        (
            "a shutdown starts a VM that it has stopped",
            |desired, observed| match observed.files {
                Files::Current if desired.leaving && !lives(observed) && observed.job.is_none() => {
                    let leaving = false;
                    plan(
                        &Desired {
                            leaving,
                            ..*desired
                        },
                        observed,
                    )
                }
                _ => plan(desired, observed),
            },
            Is(Broken::StartedUnwanted),
        ),
        (
            "a shutdown waits for a VM that boots",
            |desired, observed| match (observed.agent, observed.stop) {
                (Agent::Booting, Stop::NotAsked) if desired.leaving => Action::Wait,
                _ => plan(desired, observed),
            },
            Is(Broken::Dawdled),
        ),
        (
            "two jobs at once",
            |desired, observed| match observed.job {
                Some(Job::Prepare) => plan(
                    desired,
                    &Observed {
                        job: None,
                        ..*observed
                    },
                ),
                _ => plan(desired, observed),
            },
            Is(Broken::TwoJobs),
        ),
        (
            "a template is written while the VM is alive",
            |desired, observed| match observed.files {
                Files::Outdated if desired.fate == Fate::Keep && observed.job.is_none() => {
                    Action::WriteTemplate
                }
                _ => plan(desired, observed),
            },
            Is(Broken::ChangedUnderLife),
        ),
        (
            "a new VM that should not run is not prepared",
            |desired, observed| match observed.files {
                Files::Absent if !desired.running && desired.fate == Fate::Keep => Action::Rest,
                _ => plan(desired, observed),
            },
            NeverSettles,
        ),
    ]
}

/// The defects of the code that performs the plan, and the violations that must follow.
fn wrong_worlds() -> Vec<(Flaw, Why)> {
    use Why::{Broken as Is, NeverSettles};
    vec![
        (Flaw::TrustsNumbers, Is(Broken::StrangerSignalled)),
        (Flaw::IgnoresLock, Is(Broken::TwoAgents)),
        (Flaw::DeletesUnproved, Is(Broken::ChangedUnderLife)),
        (Flaw::WritesUnproved, Is(Broken::ChangedUnderLife)),
        (Flaw::KeepsMark, NeverSettles),
        (Flaw::FindsByRecord, Is(Broken::TwoMachines)),
        (Flaw::ForgetsRemains, Is(Broken::ReleasedTooEarly)),
        (Flaw::KillsAgentOnly, NeverSettles),
        (Flaw::ForgivesTheAsked, NeverSettles),
    ]
}

/// Most defects show within a small bound. The others are searched from one of the two starts only, with the bound that
/// they need, because the graphs are large.
fn where_it_shows(what: &str) -> (&'static [bool], &'static [Bound]) {
    const SMALL: [Bound; 2] = [
        Bound {
            faults: 0,
            commands: 1,
        },
        Bound {
            faults: 1,
            commands: 1,
        },
    ];
    const TEMPLATES: [Bound; 1] = [Bound {
        faults: 1,
        commands: 2,
    }];
    const ORPHANS: [Bound; 1] = [Bound {
        faults: 2,
        commands: 1,
    }];
    match what {
        "KeepsMark" => (&[false], &TEMPLATES),
        "WritesUnproved" => (&[true], &TEMPLATES),
        "ForgivesTheAsked" | "a machine that cannot be adopted is never given up" => {
            (&[true], &ORPHANS)
        }
        _ => (&[true, false], &SMALL),
    }
}

fn caught(what: &str, rules: &Rules) -> Option<(Bound, Why, usize)> {
    let (running, bounds) = where_it_shows(what);
    let starts: Vec<World> = running
        .iter()
        .map(|running| World::new(Request::new(*running)))
        .collect();
    bounds.iter().find_map(|bound| {
        let failure = check(&starts, rules, *bound).err()?;
        Some((*bound, failure.why, failure.trace.len()))
    })
}

#[test]
fn every_seeded_defect_is_found() {
    let plans = wrong_plans()
        .into_iter()
        .map(|(what, plan, why)| (what.to_owned(), Rules { plan, flaw: None }, why));
    let worlds = wrong_worlds().into_iter().map(|(flaw, why)| {
        let rules = Rules {
            plan,
            flaw: Some(flaw),
        };
        (format!("{flaw:?}"), rules, why)
    });
    let mut missed = Vec::new();
    for (what, rules, expected) in plans.chain(worlds) {
        let found = caught(&what, &rules);
        match &found {
            Some((bound, why, steps)) => println!("{what}: {why:?} after {steps} steps, {bound}"),
            None => println!("{what}: not found"),
        }
        if !matches!(found, Some((_, why, _)) if why == expected) {
            missed.push(format!("{what}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
}
