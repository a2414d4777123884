//! The status for each observation, as a table; and the same observation always gives the same status.

use super::super::plan::Stop;
use super::*;

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
const DOWN: Observed = Observed {
    files: Files::Current,
    remains: false,
    agent: Agent::Absent,
    machine: Machine::Absent,
    stop: Stop::NotAsked,
    job: None,
    held_back: false,
    hopeless: false,
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
const NEW: Observed = Observed {
    files: Files::Absent,
    ..DOWN
};

fn show(old: &LimaVMStatus, desired: &Desired, observed: &Observed, known: &Known) -> LimaVMStatus {
    status(
        old,
        Some(1),
        Timestamp::UNIX_EPOCH,
        desired,
        observed,
        known,
    )
}

fn with(kind: &str, status: &str, reason: &str) -> LimaVMStatus {
    let mut old = LimaVMStatus::default();
    put(
        &mut old.conditions,
        kind,
        status,
        reason,
        "",
        Some(1),
        Timestamp::UNIX_EPOCH,
    );
    old
}

fn shown<'a>(status: &'a LimaVMStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason))
}

/// The observation of a VM whose hostagent answers.
fn seen(phase: Phase) -> Observation {
    let process = Identity::of_current().unwrap();
    let info = serde_json::json!({
        "sshLocalPort": 60022, "name": "vm", "phase": phase, "hostagent": process, "hostagentStartedAt": 1000,
        "qemu": process, "adopted": false, "startedAt": 2000, "bootCount": 1,
    });
    Observation {
        agent: AgentState::Alive {
            identity: Some(process.clone()),
            silent: None,
        },
        machine: MachineState::Alive { identity: process },
        info: Some(serde_json::from_value(info).unwrap()),
    }
}

fn failed() -> Known {
    let ended = Ended {
        powered_off: false,
        message: "no QEMU".into(),
    };
    Known {
        ended: Some(ended),
        files_failure: Some("no image".into()),
        ..Known::default()
    }
}

#[test]
fn running_condition_follows_from_the_observation() {
    type Row<'a> = (
        &'a LimaVMStatus,
        Desired,
        Observed,
        &'a Known,
        Option<(&'a str, &'a str)>,
    );
    let none = LimaVMStatus::default();
    let was = |status: &str, reason: &str| with(condition::RUNNING, status, reason);
    let (up, unknown, starting) = (
        was("True", "Started"),
        was("Unknown", "Reconciling"),
        was("False", "Starting"),
    );
    let started = Known {
        started_agent: true,
        ..Known::default()
    };
    let powered_off = Ended {
        powered_off: true,
        message: String::new(),
    };
    let off_by_guest = Known {
        ended: Some(powered_off),
        ..Known::default()
    };
    let stop_failed = Known {
        stop_failure: Some("hung".into()),
        ..Known::default()
    };
    let asked = Known {
        asked_to_stop: true,
        ..Known::default()
    };
    let exiting = Known {
        observation: Some(seen(Phase::Exiting)),
        ..Known::default()
    };
    let idle = Known::default();
    let broken = failed();
    let restart = Desired {
        restart: true,
        ..ON
    };
    let stale = Observed {
        files: Files::Outdated,
        ..DOWN
    };
    let blind = Observed {
        agent: Agent::Unknown,
        ..DOWN
    };
    let rows: Vec<Row<'_>> = vec![
        (&none, ON, NEW, &idle, None),
        (&up, ON, NEW, &idle, Some(("False", "Stopped"))),
        (&none, ON, DOWN, &idle, Some(("False", "Starting"))),
        (&none, ON, DOWN, &broken, Some(("False", "StartFailed"))),
        (&up, ON, DOWN, &off_by_guest, Some(("False", "Stopped"))),
        (&none, OFF, DOWN, &broken, Some(("False", "Stopped"))),
        (&up, restart, DOWN, &idle, Some(("False", "Stopped"))),
        (&up, ON, stale, &idle, Some(("False", "Stopped"))),
        (&starting, ON, SILENT, &started, Some(("False", "Starting"))),
        (&up, ON, SILENT, &idle, Some(("Unknown", "Reconciling"))),
        (&up, ON, ORPHAN, &idle, Some(("Unknown", "Reconciling"))),
        (
            &unknown,
            ON,
            SILENT,
            &started,
            Some(("Unknown", "Reconciling")),
        ),
        (&up, ON, blind, &idle, Some(("Unknown", "Reconciling"))),
        (&none, ON, BOOTING, &idle, Some(("False", "Starting"))),
        (&starting, ON, UP, &idle, Some(("True", "Started"))),
        (&up, OFF, STOPPING, &idle, Some(("Unknown", "Stopping"))),
        (&up, OFF, UP, &asked, Some(("Unknown", "Stopping"))),
        (&up, ON, STOPPING, &exiting, Some(("True", "Started"))),
        (
            &starting,
            ON,
            STOPPING,
            &exiting,
            Some(("False", "Starting")),
        ),
        (&up, OFF, SILENT, &asked, Some(("Unknown", "Stopping"))),
        (
            &starting,
            OFF,
            BOOTING,
            &asked,
            Some(("Unknown", "Stopping")),
        ),
        (&up, OFF, UP, &stop_failed, Some(("False", "StopFailed"))),
        (&up, OFF, DOWN, &stop_failed, Some(("False", "Stopped"))),
    ];
    for (old, desired, observed, known, expected) in rows {
        let new = show(old, &desired, &observed, known);
        assert_eq!(
            shown(&new, condition::RUNNING),
            expected,
            "{old:?} {desired:?} {observed:?} {known:?}"
        );
    }
}

#[test]
fn created_condition_follows_from_the_observation() {
    let none = LimaVMStatus::default();
    let preparing = Observed {
        job: Some(Job::Prepare),
        ..NEW
    };
    let foreign = Observed {
        files: Files::Foreign,
        ..NEW
    };
    let progress = Known {
        progress: Some("downloading image: 43 % of 311 MiB".into()),
        ..failed()
    };
    let rows: [(Observed, &Known, &str, &str); 7] = [
        (NEW, &Known::default(), "Pending", "waiting"),
        (preparing, &Known::default(), "Pending", "preparing"),
        (preparing, &progress, "Pending", "43 %"),
        (NEW, &failed(), "CreateFailed", "no image"),
        // A retry without progress.
        (preparing, &failed(), "CreateFailed", "no image"),
        (foreign, &failed(), "CreateFailed", "no image"),
        (DOWN, &Known::default(), "Created", "exist"),
    ];
    for (observed, known, reason, message) in rows {
        let new = show(&none, &ON, &observed, known);
        let created = new
            .conditions
            .iter()
            .find(|condition| condition.type_ == condition::CREATED)
            .unwrap();
        assert_eq!(created.reason, reason, "{observed:?} {known:?}");
        assert!(created.message.contains(message), "{}", created.message);
    }
}

#[test]
fn h27_same_observation_gives_the_same_status() {
    let later: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    for known in [Known::default(), failed()] {
        for observed in [NEW, DOWN, BOOTING, UP, STOPPING, SILENT, ORPHAN] {
            for desired in [
                ON,
                OFF,
                Desired {
                    fate: Fate::Delete,
                    ..OFF
                },
                Desired {
                    restart: true,
                    ..ON
                },
            ] {
                let first = show(&LimaVMStatus::default(), &desired, &observed, &known);
                let again = status(&first, Some(1), later, &desired, &observed, &known);
                assert_eq!(first, again, "{desired:?} {observed:?} {known:?}");
            }
        }
    }
}

#[test]
fn transition_time_is_that_of_the_last_change_of_the_status() {
    let later: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let old = with(condition::RUNNING, "False", "Starting");
    let time = |status: &LimaVMStatus| {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == condition::RUNNING)
            .unwrap();
        found.last_transition_time.0
    };
    let stopped = status(&old, Some(1), later, &OFF, &DOWN, &Known::default());
    assert_eq!(
        time(&stopped),
        Timestamp::UNIX_EPOCH,
        "False as before, for another reason"
    );
    let up = status(&old, Some(1), later, &ON, &UP, &Known::default());
    assert_eq!(time(&up), later);
}

#[test]
fn each_run_is_counted_once_and_template_is_in_effect_once_the_vm_is_up_with_it() {
    let known = Known {
        template_resource_version: Some("7".into()),
        ..Known::default()
    };
    let none = LimaVMStatus::default();
    // Observations in the middle of a run, by the controller that saw its beginning and by the next one. None of them
    // shows whether the VM was up before.
    let between = [STOPPING, SILENT, ORPHAN, BOOTING];
    for observed in between {
        let never_up = show(&show(&none, &ON, &BOOTING, &known), &ON, &observed, &known);
        assert_eq!((never_up.restart_count, &never_up.up_since), (0, &None));
        let up = show(&never_up, &ON, &UP, &known);
        assert_eq!(
            up.restart_count, 1,
            "{observed:?}, and then up for the first time"
        );
        assert!(up.up_since.is_some());
        let again = show(&show(&up, &ON, &observed, &known), &ON, &UP, &known);
        assert_eq!(again.restart_count, 1, "up, {observed:?}, and up as before");
        assert_eq!(again.up_since, up.up_since);
        let down = show(&again, &ON, &DOWN, &known);
        assert_eq!((down.restart_count, &down.up_since), (1, &None));
        assert_eq!(
            show(&down, &ON, &UP, &known).restart_count,
            2,
            "another run"
        );
    }

    let version = |desired: &Desired, observed: &Observed| {
        show(&none, desired, observed, &known).observed_template_resource_version
    };
    assert_eq!(version(&ON, &UP).as_deref(), Some("7"));
    assert_eq!(version(&OFF, &DOWN).as_deref(), Some("7"));
    let stale = |observed: Observed| Observed {
        files: Files::Outdated,
        ..observed
    };
    for (desired, observed) in [
        (ON, BOOTING),
        (ON, DOWN),
        (ON, stale(UP)),
        (OFF, stale(DOWN)),
        (OFF, NEW),
    ] {
        assert_eq!(
            version(&desired, &observed),
            None,
            "{desired:?} {observed:?}"
        );
    }
    assert!(show(&none, &ON, &stale(UP), &known).restart_needed);
    assert!(!show(&none, &OFF, &stale(DOWN), &known).restart_needed);
}

#[test]
fn processes_are_shown_and_unobservable_fields_stay() {
    let pid = i64::from(std::process::id());
    let with = |observation| Known {
        observation: Some(observation),
        ..Known::default()
    };
    let up = show(
        &LimaVMStatus::default(),
        &ON,
        &UP,
        &with(seen(Phase::Running)),
    );
    let process = |seconds: i64| {
        Some(ProcessStatus {
            pid,
            start_time: Some(Time(Timestamp::from_second(seconds).unwrap())),
        })
    };
    assert_eq!(
        (&up.hostagent, &up.machine),
        (&process(1000), &process(2000))
    );
    assert_eq!(up.ssh_local_port, Some(60022));
    // The hostagent hangs: the lock names the process, and the rest is unknown.
    let mut hung = seen(Phase::Running);
    hung.info = None;
    hung.machine = MachineState::Unknown { reason: "?".into() };
    let silent = show(&up, &ON, &SILENT, &with(hung));
    assert_eq!(
        (&silent.hostagent, &silent.machine, silent.ssh_local_port),
        (&up.hostagent, &up.machine, up.ssh_local_port)
    );
    let down = show(&silent, &OFF, &DOWN, &Known::default());
    assert_eq!(
        (&down.hostagent, &down.machine, down.ssh_local_port),
        (&None, &None, None)
    );
}

#[test]
fn last_error_stays_with_its_time_until_there_is_another() {
    let wrong = |text: &str| Known {
        failure: Some(text.into()),
        ..Known::default()
    };
    let first = show(&LimaVMStatus::default(), &ON, &DOWN, &wrong("no QEMU"));
    assert_eq!(first.last_error.as_deref(), Some("no QEMU"));
    let later: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let at_later = |known: &Known| status(&first, Some(1), later, &ON, &UP, known);
    for known in [wrong("no QEMU"), Known::default()] {
        let same = at_later(&known);
        assert_eq!(
            (&same.last_error, &same.last_error_time),
            (&first.last_error, &first.last_error_time)
        );
    }
    let other = at_later(&wrong(&"no disk ".repeat(1000)));
    assert!(other.last_error.unwrap().len() <= api::lima::MAX_LAST_ERROR + '…'.len_utf8());
    assert_eq!(other.last_error_time, Some(Time(later)));
}

#[test]
fn long_message_keeps_its_end() {
    let long = format!("{}ä the reason", "x".repeat(2 * MAX_MESSAGE));
    let short = shortened(&long, MAX_MESSAGE);
    assert!(
        short.ends_with("ä the reason")
            && short.starts_with('…')
            && short.len() <= MAX_MESSAGE + '…'.len_utf8()
    );
    assert_eq!(shortened(" as it is \n", MAX_MESSAGE), "as it is");
}

#[test]
fn degraded_vm_has_a_condition_of_its_own_until_it_recovers_or_ends() {
    let degraded = Known {
        degraded: Some("sshd hangs".into()),
        ..Known::default()
    };
    let up = show(&LimaVMStatus::default(), &ON, &UP, &Known::default());
    assert_eq!(shown(&up, condition::DEGRADED), None);
    let sick = show(&up, &ON, &UP, &degraded);
    assert_eq!(
        shown(&sick, condition::DEGRADED),
        Some(("True", "Degraded"))
    );
    assert_eq!(shown(&sick, condition::RUNNING), Some(("True", "Started")));
    let recovered = show(&sick, &ON, &UP, &Known::default());
    assert_eq!(shown(&recovered, condition::DEGRADED), None);
    let down = show(&sick, &OFF, &DOWN, &degraded);
    assert_eq!(shown(&down, condition::DEGRADED), None);
}

#[test]
fn h55_only_differences_that_cannot_flap_are_urgent() {
    let up = show(&LimaVMStatus::default(), &ON, &UP, &Known::default());
    let sick = Known {
        degraded: Some("sshd hangs".into()),
        running_note: "Degraded".into(),
        failure: Some("sshd hangs".into()),
        ..Known::default()
    };
    assert!(!is_urgent(&up, &show(&up, &ON, &UP, &sick)));
    assert!(is_urgent(&up, &show(&up, &OFF, &STOPPING, &sick)));
    let restart = Desired {
        restart: true,
        ..ON
    };
    assert!(is_urgent(&up, &show(&up, &restart, &UP, &sick)));
    assert!(is_urgent(
        &LimaVMStatus::default(),
        &show(&LimaVMStatus::default(), &ON, &BOOTING, &sick)
    ));
}
