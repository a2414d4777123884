//! The next step for a VM, as a table: desired state, observation, action.

use lima_controllers::limavm::plan::{
    Action, Agent, Desired, Fate, Files, Job, Machine, Observed, Stop, plan,
};

const ON: Desired = Desired {
    fate: Fate::Keep,
    running: true,
    restart: false,
    template: true,
    leaving: false,
};
const OFF: Desired = Desired {
    running: false,
    ..ON
};
const RESTART: Desired = Desired {
    restart: true,
    ..ON
};
const DELETE: Desired = Desired {
    fate: Fate::Delete,
    ..ON
};
const RESET: Desired = Desired {
    fate: Fate::Reset,
    ..ON
};
const LEAVING: Desired = Desired {
    leaving: true,
    ..ON
};
const UNTEMPLATED: Desired = Desired {
    template: false,
    ..ON
};

const NEW: Observed = Observed {
    files: Files::Absent,
    remains: false,
    agent: Agent::Absent,
    machine: Machine::Absent,
    stop: Stop::NotAsked,
    job: None,
    held_back: false,
    hopeless: false,
};
const DOWN: Observed = Observed {
    files: Files::Current,
    ..NEW
};
const STALE: Observed = Observed {
    files: Files::Outdated,
    ..NEW
};
const BOOTING: Observed = Observed {
    agent: Agent::Booting,
    machine: Machine::Alive,
    ..DOWN
};
const UP: Observed = Observed {
    agent: Agent::Up,
    ..BOOTING
};
const STOPPING: Observed = Observed {
    agent: Agent::Stopping,
    ..BOOTING
};
const SILENT: Observed = Observed {
    agent: Agent::Silent,
    machine: Machine::Unknown,
    ..DOWN
};
const ORPHAN: Observed = Observed {
    machine: Machine::Alive,
    ..DOWN
};

fn held(observed: Observed) -> Observed {
    Observed {
        held_back: true,
        ..observed
    }
}
fn hopeless(observed: Observed) -> Observed {
    Observed {
        hopeless: true,
        ..observed
    }
}
fn left(observed: Observed) -> Observed {
    Observed {
        remains: true,
        ..observed
    }
}
fn asked(observed: Observed) -> Observed {
    Observed {
        stop: Stop::Asked,
        ..observed
    }
}
fn overdue(observed: Observed) -> Observed {
    Observed {
        stop: Stop::Overdue,
        ..observed
    }
}
fn stale(observed: Observed) -> Observed {
    Observed {
        files: Files::Outdated,
        ..observed
    }
}
fn busy(observed: Observed, job: Job) -> Observed {
    Observed {
        job: Some(job),
        ..observed
    }
}

#[test]
fn plan_follows_from_desired_and_observed() {
    use Action::*;
    let rows: Vec<(&str, Desired, Observed, Action)> = vec![
        // Creating and starting.
        (
            "a new VM is prepared, even if it should not run",
            OFF,
            NEW,
            Prepare,
        ),
        ("and so is one that should run", ON, NEW, Prepare),
        ("not without a template", UNTEMPLATED, NEW, Wait),
        ("not right after a failure", ON, held(NEW), Wait),
        (
            "a preparation is waited for",
            ON,
            busy(NEW, Job::Prepare),
            Wait,
        ),
        (
            "h26: the deletion of a VM cancels its preparation",
            DELETE,
            busy(NEW, Job::Prepare),
            CancelPrepare,
        ),
        (
            "and so does a reset",
            RESET,
            busy(NEW, Job::Prepare),
            CancelPrepare,
        ),
        (
            "and the end of the control plane",
            LEAVING,
            busy(NEW, Job::Prepare),
            CancelPrepare,
        ),
        (
            "switching it off does not",
            OFF,
            busy(NEW, Job::Prepare),
            Wait,
        ),
        ("a prepared VM is started", ON, DOWN, Start),
        ("h19: not right after a failure", ON, held(DOWN), Wait),
        ("a boot is waited for", ON, BOOTING, Wait),
        ("a running VM is left alone", ON, UP, Rest),
        ("even if its last start failed", ON, held(UP), Rest),
        ("a new hostagent is waited for", ON, SILENT, Wait),
        (
            "h30: but not for ever, and its guest is left alone",
            ON,
            hopeless(SILENT),
            EndAgent,
        ),
        (
            "h18: a machine without hostagent gets one, which adopts it",
            ON,
            ORPHAN,
            Start,
        ),
        ("a VM that is stopping is waited for", ON, STOPPING, Wait),
        (
            "h32: an unknown state leads to no action",
            ON,
            Observed {
                agent: Agent::Unknown,
                ..DOWN
            },
            Wait,
        ),
        // Stopping.
        ("a running VM is asked to stop", OFF, UP, AskToStop),
        (
            "h26: and so is a booting one, at once",
            OFF,
            BOOTING,
            AskToStop,
        ),
        (
            "and one that stops by itself, so that it has a deadline",
            OFF,
            STOPPING,
            AskToStop,
        ),
        ("it has its grace period", OFF, asked(UP), Wait),
        ("h17: and no more", OFF, overdue(UP), Kill),
        (
            "h17: even if it reports that it is stopping",
            OFF,
            overdue(STOPPING),
            Kill,
        ),
        (
            "a kill that failed is not repeated at once",
            OFF,
            held(overdue(UP)),
            Wait,
        ),
        ("a stopped VM stays so", OFF, DOWN, Rest),
        (
            "a silent hostagent may be about to answer",
            OFF,
            SILENT,
            Wait,
        ),
        (
            "h17: until it has been silent for too long",
            OFF,
            hopeless(SILENT),
            Kill,
        ),
        (
            "a machine without hostagent is adopted, to be asked",
            OFF,
            ORPHAN,
            Start,
        ),
        (
            "unless adopting has failed too often",
            OFF,
            hopeless(ORPHAN),
            Kill,
        ),
        (
            "a machine in an unknown state is observed again",
            OFF,
            Observed {
                machine: Machine::Unknown,
                ..DOWN
            },
            Wait,
        ),
        (
            "and so is a hostagent",
            OFF,
            Observed {
                agent: Agent::Unknown,
                ..ORPHAN
            },
            Wait,
        ),
        (
            "after too long in an unknown state it is killed",
            OFF,
            hopeless(Observed {
                machine: Machine::Unknown,
                ..DOWN
            }),
            Kill,
        ),
        // Restarts.
        ("a restart stops the VM", RESTART, UP, AskToStop),
        ("h26: also while it boots", RESTART, BOOTING, AskToStop),
        (
            "and is complete when it is down",
            RESTART,
            DOWN,
            RestartDone,
        ),
        (
            "a restart of a VM that does not run is complete",
            Desired {
                restart: true,
                ..OFF
            },
            DOWN,
            RestartDone,
        ),
        ("and so is one without files", RESTART, NEW, RestartDone),
        // Changed templates.
        (
            "a changed template of a stopped VM is written",
            OFF,
            STALE,
            WriteTemplate,
        ),
        ("and before it is started", ON, STALE, WriteTemplate),
        ("a running VM is stopped first", ON, stale(UP), AskToStop),
        ("h25: a booting one, too", ON, stale(BOOTING), AskToStop),
        (
            "h25: one that stops is waited for",
            ON,
            asked(stale(STOPPING)),
            Wait,
        ),
        (
            "h25: the restart is complete after the template is written",
            RESTART,
            STALE,
            WriteTemplate,
        ),
        ("h25: not during a shutdown", LEAVING, STALE, Rest),
        (
            "a failed write is not repeated at once",
            ON,
            held(STALE),
            Wait,
        ),
        (
            "without a usable template, the one on disk is used",
            UNTEMPLATED,
            DOWN,
            Start,
        ),
        // Deletion and reset.
        ("a deleted VM is stopped", DELETE, UP, AskToStop),
        (
            "h21: one without hostagent is killed first",
            DELETE,
            ORPHAN,
            Kill,
        ),
        ("then its files are deleted", DELETE, DOWN, DeleteFiles),
        (
            "h22: a failed deletion is repeated",
            DELETE,
            held(DOWN),
            Wait,
        ),
        (
            "h22: also what an interrupted deletion has left",
            DELETE,
            left(NEW),
            DeleteFiles,
        ),
        (
            "h22: with a pause after a failure",
            DELETE,
            held(left(NEW)),
            Wait,
        ),
        (
            "h22: and only then the object is released",
            DELETE,
            NEW,
            Release,
        ),
        (
            "a deletion that waits is not repeated",
            DELETE,
            busy(DOWN, Job::DeleteFiles),
            Wait,
        ),
        ("a reset stops the VM", RESET, UP, AskToStop),
        ("deletes its files", RESET, DOWN, DeleteFiles),
        ("all of them", RESET, left(NEW), DeleteFiles),
        ("and is complete", RESET, NEW, ResetDone),
        (
            "the remains of a killed preparation are removed by the next",
            ON,
            left(NEW),
            Prepare,
        ),
        // Folders of other owners.
        (
            "the folder of another owner is left alone",
            ON,
            Observed {
                files: Files::Foreign,
                ..NEW
            },
            Rest,
        ),
        (
            "not by a deletion either",
            DELETE,
            Observed {
                files: Files::Foreign,
                ..NEW
            },
            Release,
        ),
        (
            "nor by a reset",
            RESET,
            Observed {
                files: Files::Foreign,
                ..NEW
            },
            Rest,
        ),
        // The shutdown of the control plane.
        ("a shutdown stops a VM", LEAVING, UP, AskToStop),
        ("starts none", LEAVING, DOWN, Rest),
        ("and prepares none", LEAVING, NEW, Rest),
    ];
    for (why, desired, observed, action) in rows {
        assert_eq!(
            plan(&desired, &observed),
            action,
            "{why}: {desired:?} {observed:?}"
        );
    }
}

/// All combinations of desired state and observation.
fn all() -> impl Iterator<Item = (Desired, Observed)> {
    let bools = [false, true];
    let desired = [Fate::Keep, Fate::Reset, Fate::Delete]
        .into_iter()
        .flat_map(move |fate| {
            (0..16).map(move |bits: u8| Desired {
                fate,
                running: bits & 1 != 0,
                restart: bits & 2 != 0,
                template: bits & 4 != 0,
                leaving: bits & 8 != 0,
            })
        });
    desired.flat_map(move |desired| {
        let mut all = Vec::new();
        for files in [
            Files::Absent,
            Files::Current,
            Files::Outdated,
            Files::Foreign,
        ] {
            for agent in [
                Agent::Absent,
                Agent::Silent,
                Agent::Booting,
                Agent::Up,
                Agent::Stopping,
                Agent::Unknown,
            ] {
                for machine in [Machine::Absent, Machine::Alive, Machine::Unknown] {
                    for stop in [Stop::NotAsked, Stop::Asked, Stop::Overdue] {
                        for job in [
                            None,
                            Some(Job::Prepare),
                            Some(Job::WriteTemplate),
                            Some(Job::Kill),
                        ] {
                            for (held_back, remains) in
                                bools.map(|a| bools.map(|b| (a, b))).concat()
                            {
                                for hopeless in bools {
                                    let seen = Observed {
                                        files,
                                        remains,
                                        agent,
                                        machine,
                                        stop,
                                        job,
                                        held_back,
                                        hopeless,
                                    };
                                    all.push((desired, seen));
                                }
                            }
                        }
                    }
                }
            }
        }
        all
    })
}

#[test]
fn plan_never_violates_its_invariants() {
    for (desired, observed) in all() {
        let action = plan(&desired, &observed);
        let lives = observed.agent != Agent::Absent || observed.machine != Machine::Absent;
        let case = format!("{action:?} for {desired:?} {observed:?}");
        if matches!(action, Action::WriteTemplate | Action::DeleteFiles) {
            assert!(!lives, "files are changed while the VM is alive: {case}");
        }
        if observed.job.is_some() {
            assert!(
                matches!(action, Action::Wait | Action::CancelPrepare),
                "two things at once: {case}"
            );
        }
        if observed.files == Files::Foreign {
            assert!(
                matches!(
                    action,
                    Action::Rest | Action::Release | Action::Wait | Action::CancelPrepare
                ),
                "{case}"
            );
        }
        if matches!(action, Action::Start) {
            assert_eq!(observed.agent, Agent::Absent, "h34: two hostagents: {case}");
            assert!(
                !desired.leaving || lives,
                "started during a shutdown: {case}"
            );
        }
        if matches!(action, Action::Prepare) {
            assert!(
                desired.template && !desired.leaving && desired.fate == Fate::Keep,
                "{case}"
            );
        }
        if matches!(action, Action::Release) {
            let gone = matches!(observed.files, Files::Absent | Files::Foreign);
            let remains = observed.remains && observed.files == Files::Absent;
            assert!(
                desired.fate == Fate::Delete && gone && !remains,
                "h22: {case}"
            );
        }
        if matches!(action, Action::Kill) {
            let wanted = desired.running
                && !desired.restart
                && !desired.leaving
                && desired.fate == Fate::Keep;
            assert!(
                !wanted || observed.files == Files::Outdated,
                "a VM that should run is killed: {case}"
            );
            assert!(lives && !observed.held_back, "{case}");
            let given_up = observed.hopeless || observed.stop == Stop::Overdue;
            let orphan = observed.agent == Agent::Absent && observed.machine == Machine::Alive;
            assert!(
                given_up || (orphan && desired.fate != Fate::Keep),
                "h17: a guest that could have been asked is killed: {case}"
            );
        }
    }
}
