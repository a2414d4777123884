//! How alike two findings are: by place, by quoted code, by words.
//!
//! No model is asked. The score is a logistic regression of six parts that a reader can follow; its weights were
//! learned on reports that people had merged, with whole targets left out for testing (docs/deep-review.md has the
//! figures, `deep-review eval` measures them).

use std::collections::HashSet;

use super::words::{Frequencies, Weighted, names, tokens};
use crate::model::{Finding, Location};

/// The compared parts of a finding, computed once.
pub(crate) struct Features {
    pub(super) locations: Vec<Location>,
    title: Weighted,
    /// Of title, explanation and fix.
    words: Weighted,
    names: Weighted,
    /// The lines of the quote, without white space.
    quote: HashSet<String>,
    /// An analyser's rule, which its titles begin with.
    pub(super) rule: Option<String>,
}

/// `DL3008` of `DL3008: Pin versions`, `needless_return` of `clippy::needless_return: …`: the last part of the first
/// word, when a colon ends that.
fn rule(title: &str) -> Option<String> {
    let (name, _) = title.split_once(": ")?;
    let named = !name.is_empty() && !name.contains(char::is_whitespace) && !name.contains('`');
    let last = name.rsplit(['.', ':', '/']).next()?;
    (named && !last.is_empty()).then(|| last.to_lowercase())
}

/// The parts of a score; all between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likeness {
    /// A file in common: 1; unknown: 0.5; none: 0.
    pub file: f64,
    /// 1 where the lines overlap, less with the distance.
    pub lines: f64,
    /// Share of the shorter quote's lines that the other one contains.
    pub quote: f64,
    /// Cosine of the titles' words.
    pub title: f64,
    /// Cosine of the words of title, explanation and fix.
    pub words: f64,
    /// Cosine of the names in code.
    pub names: f64,
    /// Share of the shorter title's words that the other title contains. Not part of the score; `deep-review eval` uses it
    /// to determine the expected result.
    pub title_overlap: f64,
    /// A rule that fires at two places: the same title, both with lines, none of them near.
    pub apart: bool,
}

/// What each part of a likeness weighs, as log odds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights(pub [f64; PARTS]);

/// How many parts a score has, with the one that is always there.
pub const PARTS: usize = 7;

/// Learned over all reports; [`Likeness::parts`] has the order. `deep-review eval --cross-validate` learns others with
/// each target left out, and shows what they are worth on it.
pub(crate) const LEARNED: Weights = Weights([
    // Always: most pairs are two defects.
    -5.7, // Against: they name files, and none is the same.
    -1.3, // For: their lines overlap. Little: reviewers of one change meet on the same lines anyway.
    0.65, // For: they quote the same code.
    1.7,  // For: they say it in the same words.
    7.2,  // For: they speak of the same functions, types and variables.
    6.1,  // For: they give it the same title.
    6.6,
]);

impl Likeness {
    /// What is weighed.
    #[must_use]
    pub fn parts(&self) -> [f64; PARTS] {
        let other_file = if self.file == 0.0 { 1.0 } else { 0.0 };
        [
            1.0, other_file, self.lines, self.quote, self.words, self.names, self.title,
        ]
    }

    /// The probability that the two are about one defect.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score_by(&LEARNED)
    }

    /// The same with other weights.
    #[must_use]
    pub fn score_by(&self, weights: &Weights) -> f64 {
        if self.apart {
            return 0.0;
        }
        let parts = self.parts();
        let odds: f64 = parts.iter().zip(&weights.0).map(|(part, w)| part * w).sum();
        1.0 / (1.0 + (-odds).exp())
    }
}

/// How many lines apart two places can be and still count as near.
pub(super) const NEAR: u32 = 25;

/// Titles this alike are one.
const SAME_TITLE: f64 = 0.99;

pub(super) fn normal_line(line: &str) -> Option<String> {
    let line: String = line
        .trim_start_matches(['+', '-'])
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    // Lines such as `}` or `return nil` are in every quote.
    (line.chars().count() >= 8).then_some(line)
}

/// Works out what is compared, with words weighted by how rare they are among these findings.
pub(crate) fn features<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<Features> {
    struct Text<'a> {
        finding: &'a Finding,
        title: Vec<String>,
        words: Vec<String>,
        names: Vec<String>,
    }
    let (mut of_words, mut of_names) = (Frequencies::default(), Frequencies::default());
    let texts: Vec<Text<'_>> = findings
        .map(|finding| {
            let fix = finding.fix.as_deref().unwrap_or("");
            let text = format!("{} {} {fix}", finding.title, finding.explanation);
            let text = Text {
                finding,
                title: tokens(&finding.title),
                words: tokens(&text),
                names: names(&text),
            };
            of_words.count(&text.words);
            of_names.count(&text.names);
            text
        })
        .collect();
    texts
        .into_iter()
        .map(|t| Features {
            locations: t.finding.locations.clone(),
            title: of_words.weigh(&t.title),
            words: of_words.weigh(&t.words),
            names: of_names.weigh(&t.names),
            quote: t
                .finding
                .quote
                .iter()
                .flat_map(|q| q.lines())
                .filter_map(normal_line)
                .collect(),
            rule: rule(&t.finding.title),
        })
        .collect()
}

/// The same path, also when one reviewer left out the first folders.
pub(crate) fn same_file(a: &str, b: &str) -> bool {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    long == short
        || long
            .strip_suffix(short)
            .is_some_and(|front| front.ends_with('/'))
}

fn places(a: &[Location], b: &[Location]) -> (f64, f64) {
    if a.is_empty() || b.is_empty() {
        return (0.5, 0.0);
    }
    let (mut file, mut best) = (0.0f64, 0.0f64);
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            if !same_file(&x.path, &y.path) {
                continue;
            }
            file = 1.0;
            // The first place is where the defect is, the others are mentioned.
            let weight = if i == 0 && j == 0 { 1.0 } else { 0.85 };
            let near = match (x.start, y.start) {
                (Some(s), Some(t)) => {
                    let (e, f) = (x.end.unwrap_or(s), y.end.unwrap_or(t));
                    let gap = f64::from(s.max(t)) - f64::from(e.min(f));
                    if gap <= 0.0 {
                        1.0
                    } else {
                        (1.0 - gap / f64::from(NEAR)).max(0.0) * 0.8
                    }
                }
                // A finding about the whole file may be about this line.
                _ => 0.3,
            };
            best = best.max(near * weight);
        }
    }
    (file, best)
}

/// Compares two findings.
pub(crate) fn likeness(a: &Features, b: &Features) -> Likeness {
    let (file, lines) = places(&a.locations, &b.locations);
    let shorter = a.quote.len().min(b.quote.len());
    let quote = if shorter == 0 {
        0.0
    } else {
        a.quote.intersection(&b.quote).count() as f64 / shorter as f64
    };
    let title = a.title.cosine(&b.title);
    let placed = |f: &Features| f.locations.iter().any(|l| l.start.is_some());
    Likeness {
        file,
        lines,
        quote,
        title,
        words: a.words.cosine(&b.words),
        names: a.names.cosine(&b.names),
        title_overlap: a.title.overlap(&b.title),
        apart: title >= SAME_TITLE && lines == 0.0 && placed(a) && placed(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    fn finding(title: &str, path: &str, line: u32) -> Finding {
        Finding {
            locations: vec![Location {
                path: path.to_owned(),
                start: Some(line),
                end: None,
            }],
            ..Finding::new("1", Severity::Important, title)
        }
    }

    #[test]
    fn one_rule_at_two_places_is_two_defects() {
        let all = [
            finding("F401: `os` imported but unused", "a.py", 3),
            finding("F401: `os` imported but unused", "b.py", 3),
            finding("F401: `os` imported but unused", "x/a.py", 4),
        ];
        let features = features(all.iter());
        assert_eq!(likeness(&features[0], &features[1]).score(), 0.0);
        assert!(likeness(&features[0], &features[2]).score() > 0.9);
    }

    #[test]
    fn same_place_alone_does_not_merge() {
        let all = [
            finding("Timer leaks when the loop ends", "a.rs", 3),
            finding("Message misspells receive", "a.rs", 3),
            finding("Loop end leaks the timer", "a.rs", 5),
        ];
        let features = features(all.iter());
        assert!(likeness(&features[0], &features[1]).score() < 0.2);
        assert!(likeness(&features[0], &features[2]).score() > 0.8);
    }
}
