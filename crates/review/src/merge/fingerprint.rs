//! A name for a defect that survives small moves of the code, and another reviewer's words for it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::similarity::normal_line;
use super::words::tokens;
use crate::model::{Location, Voice};

/// How many lines of code a name is made of; a finding about a whole function keeps its name when its end changes.
const LINES: usize = 8;

/// Returns half a SHA-256, in hex, of the path and the code without white space. Line numbers are left out, so that a
/// finding keeps its fingerprint when code is added above it. The fingerprint does not depend on which voice leads.
///
/// The code is that of the narrowest place that a voice names, from `file`, the text of [`path`] at the head. Without
/// `file` it is the shortest quote, and without a quote the words of the alphabetically first title.
pub(super) fn fingerprint(voices: &[Voice], file: Option<&str>) -> String {
    let path = path(voices).unwrap_or_default();
    let code = file.and_then(|file| code(file, narrowest(voices, path)?));
    let (mark, parts) = match code.or_else(|| quote(voices)) {
        Some(lines) => (2, lines),
        None => (1, title(voices)),
    };
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    hash.update([0]);
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([mark]);
    }
    let digest = hash.finalize();
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Returns the fingerprint without the number that distinguishes findings at the same code.
#[must_use]
pub fn base(fingerprint: &str) -> &str {
    match fingerprint.rsplit_once('-') {
        Some((base, number)) if number.parse::<u32>().is_ok() => base,
        _ => fingerprint,
    }
}

/// The file that most voices name first; of several the first by alphabet.
pub(super) fn path(voices: &[Voice]) -> Option<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for place in voices.iter().filter_map(|v| v.finding.locations.first()) {
        *counts.entry(place.path.as_str()).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, n)| *n == most).map(|(p, _)| p)
}

/// First and last line of the shortest place in a file; of several the first one.
fn narrowest(voices: &[Voice], path: &str) -> Option<(u32, u32)> {
    let lines = |place: &Location| {
        let start = place.start?;
        Some((start, place.end.unwrap_or(start).max(start)))
    };
    voices
        .iter()
        .filter_map(|v| v.finding.locations.first())
        .filter(|place| place.path == path)
        .filter_map(lines)
        .min_by_key(|(start, end)| (end - start, *start))
}

fn code(file: &str, (start, end): (u32, u32)) -> Option<Vec<String>> {
    let lines: Vec<String> = file
        .lines()
        .take(end as usize)
        .skip((start as usize).saturating_sub(1))
        .map(|line| line.chars().filter(|c| !c.is_whitespace()).collect())
        .filter(|line: &String| !line.is_empty())
        .take(LINES)
        .collect();
    (!lines.is_empty()).then_some(lines)
}

fn quote(voices: &[Voice]) -> Option<Vec<String>> {
    voices
        .iter()
        .filter_map(|v| v.finding.quote.as_deref())
        .map(|quote| quote.lines().filter_map(normal_line).collect())
        .filter(|lines: &Vec<String>| !lines.is_empty())
        .min_by(|a, b| (a.len(), a).cmp(&(b.len(), b)))
}

fn title(voices: &[Voice]) -> Vec<String> {
    let words = |title: &str| {
        let mut words = tokens(title);
        words.sort();
        words.dedup();
        words
    };
    let all = voices.iter().map(|v| words(&v.finding.title));
    all.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finding, Severity};

    fn voice(line: u32, quote: Option<&str>, title: &str) -> Voice {
        Voice {
            reviewer: "r".to_owned(),
            analyser: false,
            finding: Finding {
                locations: vec![Location {
                    path: "a.rs".to_owned(),
                    start: Some(line),
                    end: None,
                }],
                quote: quote.map(str::to_owned),
                ..Finding::new("1", Severity::Important, title)
            },
        }
    }

    fn of(voices: &[Voice], file: Option<&str>) -> String {
        fingerprint(voices, file)
    }

    const FILE: &str = "fn a() {\n    let x = compute();\n    drop(x);\n}\n";

    #[test]
    fn fingerprint_survives_moves_and_indentation() {
        let one = of(&[voice(2, Some("let x"), "One")], Some(FILE));
        let moved = format!("// more\n\n{}", FILE.replace("    let", "\tlet"));
        assert_eq!(one, of(&[voice(4, None, "Other words")], Some(&moved)));
        assert_ne!(one, of(&[voice(3, None, "One")], Some(FILE)));
        assert_eq!(one.len(), 32);
    }

    #[test]
    fn fingerprint_ignores_lead_and_quotes() {
        let wide = Voice {
            finding: Finding {
                locations: vec![Location {
                    end: Some(4),
                    ..voice(1, None, "").finding.locations[0].clone()
                }],
                ..voice(1, Some("fn a() {\nlet x = compute();"), "Wide").finding
            },
            ..voice(1, None, "")
        };
        let narrow = voice(2, Some("let x = compute();"), "Narrow");
        for file in [Some(FILE), None] {
            assert_eq!(
                of(&[wide.clone(), narrow.clone()], file),
                of(&[narrow.clone(), wide.clone()], file)
            );
        }
        // The narrow one alone is at the same code.
        assert_eq!(
            of(&[narrow.clone(), wide], Some(FILE)),
            of(&[narrow], Some(FILE))
        );
    }

    #[test]
    fn fingerprint_falls_back_to_quote_then_title() {
        let quoted = |quote| of(&[voice(3, Some(quote), "t")], None);
        assert_eq!(
            quoted("let x = compute();\n"),
            quoted("    let x = compute();")
        );
        assert_ne!(quoted("let x = compute();\n"), quoted("let y = compute();"));
        let titled = |title| of(&[voice(3, None, title)], None);
        assert_eq!(
            titled("Timer leaks in loop"),
            titled("Timers leaked: in the loop")
        );
        assert_ne!(
            titled("Timer leaks in loop"),
            titled("Socket leaks in loop")
        );
    }

    #[test]
    fn base_fingerprint_excludes_the_number() {
        assert_eq!(base("abc-2"), "abc");
        assert_eq!(base("abc"), "abc");
        assert_eq!(base("abc-d"), "abc-d");
    }
}
