//! How long each stage of the VM's life took. One stage is open at a time; beginning the next one ends it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::status::{Stage, StageName};

/// Begins `name` at `now` and ends the stage that was open since `open`. An earlier stage of the same name belongs to an
/// earlier boot and is removed with all stages after it, so each name is in the list at most once.
pub(crate) fn begin(
    stages: &mut Vec<Stage>,
    open: &mut Option<Instant>,
    name: StageName,
    now: Instant,
) {
    end(stages, open, now);
    if let Some(earlier) = stages.iter().position(|stage| stage.name == name) {
        stages.truncate(earlier);
    }
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    stages.push(Stage {
        name,
        started_at_millis: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        millis: None,
    });
    *open = Some(now);
}

/// Ends the open stage, if any.
pub(crate) fn end(stages: &mut [Stage], open: &mut Option<Instant>, now: Instant) {
    if let (Some(since), Some(stage)) = (open.take(), stages.last_mut()) {
        let took = now.saturating_duration_since(since).as_millis();
        stage.millis = Some(u64::try_from(took).unwrap_or(u64::MAX));
    }
}

/// Returns the open stage.
pub(crate) fn open(stages: &[Stage]) -> Option<StageName> {
    stages
        .last()
        .filter(|stage| stage.millis.is_none())
        .map(|stage| stage.name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn stage_ends_when_the_next_begins_and_a_reboot_starts_over() {
        use StageName::{Booting, Login, Preparing, Services, Stopping};
        let (mut stages, mut since) = (Vec::new(), None);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let shown = |stages: &[Stage]| -> Vec<(StageName, Option<u64>)> {
            stages.iter().map(|s| (s.name, s.millis)).collect()
        };
        begin(&mut stages, &mut since, Preparing, at(0));
        assert_eq!(open(&stages), Some(Preparing));
        begin(&mut stages, &mut since, Booting, at(1));
        begin(&mut stages, &mut since, Services, at(3));
        begin(&mut stages, &mut since, Login, at(6));
        end(&mut stages, &mut since, at(10));
        end(&mut stages, &mut since, at(99));
        assert_eq!(open(&stages), None);
        let (prepared, booted) = ((Preparing, Some(1000)), (Booting, Some(2000)));
        assert_eq!(
            shown(&stages),
            [
                prepared,
                booted,
                (Services, Some(3000)),
                (Login, Some(4000))
            ]
        );
        begin(&mut stages, &mut since, Booting, at(100));
        assert_eq!(shown(&stages), [prepared, (Booting, None)]);
        begin(&mut stages, &mut since, Stopping, at(102));
        assert_eq!(shown(&stages), [prepared, booted, (Stopping, None)]);
    }
}
