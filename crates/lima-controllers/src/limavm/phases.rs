//! The phases of the last start and the last stop (`status.phases`): those that the hostagent measured, and the creation
//! of the files, which the controller measures.

use std::time::Duration;

use api::lima::{PhaseStatus, phase};
use hostagent::status::{Stage, StageName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// What the hostagent measured, as the status shows it.
pub(crate) fn of_stages(stages: &[Stage]) -> Vec<PhaseStatus> {
    stages.iter().filter_map(of_stage).collect()
}

fn of_stage(stage: &Stage) -> Option<PhaseStatus> {
    let name = match stage.name {
        StageName::Preparing => phase::PREPARING,
        StageName::Starting => phase::STARTING,
        StageName::Booting => phase::BOOTING,
        StageName::Services => phase::SERVICES,
        StageName::Login => phase::LOGIN,
        StageName::Adopting => phase::ADOPTING,
        StageName::Stopping => phase::STOPPING,
    };
    let millis = i64::try_from(stage.started_at_millis).ok()?;
    Some(PhaseStatus {
        name: name.into(),
        start_time: MicroTime(Timestamp::from_millisecond(millis).ok()?),
        duration: stage
            .millis
            .map(|millis| text(Duration::from_millis(millis))),
    })
}

/// A phase that begins at `now`.
pub(crate) fn begun(name: &str, now: Timestamp) -> PhaseStatus {
    PhaseStatus {
        name: name.into(),
        // In the precision of the API: a finer time would differ from the stored one at each look.
        start_time: MicroTime(Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)),
        duration: None,
    }
}

/// Ends the open phases, because the process that measured them is gone.
pub(crate) fn end(phases: &mut [PhaseStatus], now: Timestamp) {
    for phase in phases.iter_mut().filter(|phase| phase.duration.is_none()) {
        let took = now.duration_since(phase.start_time.0);
        let took = Duration::try_from(took).unwrap_or_default();
        phase.duration = Some(text(Duration::from_millis(
            u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        )));
    }
}

/// The phases to show, where `old` were shown last and `fresh` are those of the current or the last run. The creation of
/// the files and the last stop stay until they happen again.
pub(crate) fn merged(old: &[PhaseStatus], fresh: &[PhaseStatus]) -> Vec<PhaseStatus> {
    if fresh.is_empty() {
        return old.to_vec();
    }
    let stays = |phase: &&PhaseStatus| {
        [phase::CREATING, phase::STOPPING].contains(&phase.name.as_str())
            && fresh.iter().all(|newer| newer.name != phase.name)
    };
    // Old phases come first. They are not sorted by time, because the clock may have been set back.
    let mut all: Vec<_> = old.iter().filter(stays).chain(fresh).cloned().collect();
    let surplus = all.len().saturating_sub(api::lima::MAX_PHASES);
    all.drain(..surplus);
    all
}

/// Time, reason and message of an event for each phase that has begun since `old` was shown. A stop has no event here,
/// because its condition has one.
pub(crate) fn news(
    old: &[PhaseStatus],
    new: &[PhaseStatus],
) -> Vec<(Timestamp, &'static str, String)> {
    let shown = |phase: &PhaseStatus| {
        old.iter()
            .any(|old| old.name == phase.name && old.start_time == phase.start_time)
    };
    // A hostagent that adopts a machine reports its own beginning first, and the earlier phases of that machine later:
    // those had their events long ago.
    let adopted = new.iter().position(|phase| phase.name == phase::ADOPTING);
    let latest = old.iter().map(|phase| &phase.start_time).max();
    let recalled = |at: usize, phase: &PhaseStatus| {
        adopted.is_some_and(|adopted| at < adopted)
            && latest.is_some_and(|latest| phase.start_time < *latest)
    };
    new.iter()
        .enumerate()
        .filter(|(at, phase)| !shown(phase) && !recalled(*at, phase))
        .filter_map(|(_, phase)| {
            let (reason, text) = match phase.name.as_str() {
                phase::CREATING => ("Creating", "creating the VM's files"),
                phase::PREPARING => ("Preparing", "preparing what the machine needs"),
                phase::STARTING => ("StartingMachine", "starting the machine"),
                phase::BOOTING => ("Booting", "the guest boots"),
                phase::SERVICES => ("StartingServices", "the guest starts its services"),
                phase::LOGIN => ("LoggingIn", "waiting for the first login"),
                phase::ADOPTING => ("Adopting", "adopting the running machine"),
                _ => return None,
            };
            Some((phase.start_time.0, reason, text.to_owned()))
        })
        .collect()
}

/// `1h2m3.004s`, as Kubernetes writes durations.
fn text(duration: Duration) -> String {
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let (seconds, millis) = (duration.as_secs() % 60, duration.subsec_millis());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{millis:03}s"),
        (0, _) => format!("{minutes}m{seconds}.{millis:03}s"),
        _ => format!("{hours}h{minutes}m{seconds}.{millis:03}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn stage(name: StageName, started: u64, millis: Option<u64>) -> Stage {
        Stage {
            name,
            started_at_millis: started,
            millis,
        }
    }

    #[test]
    fn durations_are_written_as_in_kubernetes() {
        for (millis, expected) in [
            (0, "0.000s"),
            (5204, "5.204s"),
            (60_000, "1m0.000s"),
            (3_723_004, "1h2m3.004s"),
        ] {
            assert_eq!(text(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn new_start_replaces_the_last_one_and_keeps_the_last_stop() {
        let mut creating = begun(phase::CREATING, at(10));
        end(std::slice::from_mut(&mut creating), at(15));
        let names = |phases: &[PhaseStatus]| -> Vec<(String, Option<String>)> {
            phases
                .iter()
                .map(|phase| (phase.name.clone(), phase.duration.clone()))
                .collect()
        };
        let first = merged(
            &[creating],
            &of_stages(&[
                stage(StageName::Preparing, 20, Some(1)),
                stage(StageName::Booting, 21, Some(2)),
                stage(StageName::Stopping, 30, Some(3)),
            ]),
        );
        let own =
            |name: &str, duration: Option<&str>| (name.to_owned(), duration.map(str::to_owned));
        assert_eq!(
            names(&first),
            [
                own("creating", Some("0.005s")),
                own("preparing", Some("0.001s")),
                own("booting", Some("0.002s")),
                own("stopping", Some("0.003s")),
            ]
        );
        assert_eq!(merged(&first, &[]), first, "nothing runs");
        // The second time the clock has been set back.
        for clock in [40, 5] {
            let second = merged(
                &first,
                &of_stages(&[stage(StageName::Preparing, clock, None)]),
            );
            assert_eq!(
                names(&second),
                [
                    own("creating", Some("0.005s")),
                    own("stopping", Some("0.003s")),
                    own("preparing", None)
                ]
            );
        }
    }

    #[test]
    fn each_phase_has_one_event_even_if_another_hostagent_reports_it_again() {
        use StageName::{Adopting, Booting, Login, Preparing};
        let shown = |stages: &[(StageName, u64)]| {
            of_stages(
                &stages
                    .iter()
                    .map(|(name, at)| stage(*name, *at, None))
                    .collect::<Vec<_>>(),
            )
        };
        let reported = |old: &[PhaseStatus], new: &[PhaseStatus]| -> Vec<&str> {
            news(old, new)
                .iter()
                .map(|(_, reason, _)| *reason)
                .collect()
        };
        let up = shown(&[(Preparing, 20), (Booting, 30), (Login, 40)]);
        assert_eq!(reported(&up[..1], &up), ["Booting", "LoggingIn"]);
        // The hostagent dies. The next one begins, then finds the machine and its recorded phases.
        let next = shown(&[(Preparing, 100)]);
        assert_eq!(reported(&up, &next), ["Preparing"]);
        let adopted = shown(&[(Preparing, 20), (Booting, 30), (Login, 40), (Adopting, 105)]);
        assert_eq!(reported(&next, &adopted), ["Adopting"]);
        // No look came in between: all that is new is reported.
        assert_eq!(
            reported(&up[..1], &adopted),
            ["Booting", "LoggingIn", "Adopting"]
        );
        // A start after the clock was set back is a new one.
        let again = shown(&[(Preparing, 5), (Booting, 7)]);
        assert_eq!(reported(&adopted, &again), ["Preparing", "Booting"]);
    }

    #[test]
    fn end_closes_open_phases_and_a_clock_set_back_gives_no_negative_duration() {
        let mut phases = vec![begun("booting", at(1000))];
        end(&mut phases, at(3500));
        assert_eq!(phases[0].duration.as_deref(), Some("2.500s"));
        end(&mut phases, at(9000));
        assert_eq!(phases[0].duration.as_deref(), Some("2.500s"));
        let mut back = vec![begun("booting", at(1000))];
        end(&mut back, at(0));
        assert_eq!(back[0].duration.as_deref(), Some("0.000s"));
    }

    #[test]
    fn phase_is_read_back_as_it_was_written() {
        let now: Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
        let phase = begun("creating", now);
        let text = serde_json::to_string(&phase).unwrap();
        assert_eq!(serde_json::from_str::<PhaseStatus>(&text).unwrap(), phase);
    }
}
