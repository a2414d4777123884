//! Durations as users write them: `30s`, `5m`, `1h30m`, `500ms`, `0`.

use std::time::{Duration, Instant};

/// A deadline for a wait: `0` waits without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

impl Timeout {
    /// The instant at which a wait that begins now ends.
    pub(crate) fn deadline(self) -> Instant {
        Instant::now() + self.0.unwrap_or(LONGEST)
    }
}

/// The longest duration that is accepted. `0` means without limit.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Parses the value of a `--timeout`.
pub(crate) fn parse_timeout(text: &str) -> Result<Timeout, String> {
    let duration = parse(text)?;
    Ok(Timeout((!duration.is_zero()).then_some(duration)))
}

/// Parses the value of a `--grace-period`, where `0` means at once.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text)
}

/// Parses a sequence of numbers with units, as Go's `time.ParseDuration` does, without signs.
fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("invalid duration {text:?}: write it like 30s, 5m, 1h30m or 0");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..number_end].parse().map_err(|_| invalid())?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit_end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(invalid()),
            };
        rest = &rest[unit_end..];
    }
    if text.is_empty() || total > LONGEST.as_secs_f64() {
        return Err(invalid());
    }
    Duration::try_from_secs_f64(total).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_and_invalid_ones_refused() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("500ms", 0.5),
            ("1.5s", 1.5),
            ("0s", 0.0),
            ("0", 0.0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "5x",
            "1.2.3s",
            "99999999h",
            "1e9s",
            "∞",
        ] {
            assert!(
                parse(text).unwrap_err().contains("invalid duration"),
                "{text}"
            );
        }
    }

    #[test]
    fn zero_means_without_limit() {
        assert_eq!(parse_timeout("0"), Ok(Timeout(None)));
        assert_eq!(
            parse_timeout("2s"),
            Ok(Timeout(Some(Duration::from_secs(2))))
        );
    }
}
