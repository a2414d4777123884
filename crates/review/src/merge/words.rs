//! Words of findings, weighted by how rare they are.

use std::collections::{HashMap, HashSet};

/// Words that say nothing about a defect.
const STOP: &[&str] = &[
    "the", "and", "for", "with", "that", "this", "from", "are", "not", "can", "but", "has", "have",
    "will", "when", "which", "than", "then", "they", "its", "into", "also", "any", "all", "only",
    "would", "should", "could", "does", "was", "were", "been", "being", "there", "their", "here",
    "what", "where", "while", "because", "line", "lines", "file", "code", "fix", "use", "uses",
    "used", "using", "one", "two", "same", "now", "still", "even", "each",
];

/// The words of a text: lower case, without endings, `camelCase` and `snake_case` in parts, so that prose about a
/// name meets the name.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut result = Vec::new();
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
        let mut part = String::new();
        let mut lower_before = false;
        for c in word.chars() {
            if c == '_' || (c.is_uppercase() && lower_before) {
                push(&mut result, &part);
                part.clear();
            }
            if c != '_' {
                part.extend(c.to_lowercase());
            }
            lower_before = c.is_lowercase();
        }
        push(&mut result, &part);
    }
    result
}

fn push(result: &mut Vec<String>, word: &str) {
    if word.chars().count() < 3 || STOP.contains(&word) || word.chars().all(|c| c.is_ascii_digit())
    {
        return;
    }
    result.push(stem(word));
}

/// The word without the commonest endings: enough to make `leaks`, `leaked` and `leaking` one.
fn stem(word: &str) -> String {
    for ending in [
        "ations", "ation", "ings", "ing", "edly", "ies", "ied", "ers", "ed", "es", "er", "ly", "s",
    ] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.chars().count() >= 3
        {
            return stem.to_owned();
        }
    }
    word.to_owned()
}

/// Names in code: what is in backticks, and what looks like an identifier.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut result = Vec::new();
    for (number, part) in text.split('`').enumerate() {
        for word in part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')) {
            let inside = number % 2 == 1;
            let mixed = word.chars().skip(1).any(char::is_uppercase)
                && word.chars().any(char::is_lowercase);
            if word.chars().count() >= 3 && (inside || mixed || word.contains('_')) {
                result.push(word.to_lowercase());
            }
        }
    }
    result
}

/// The number of findings that contain each word.
#[derive(Default)]
pub(super) struct Frequencies {
    ids: HashMap<String, u32>,
    seen: Vec<u32>,
    findings: u32,
}

/// Frequencies are mixed with those of this many imagined findings, so that what two of three findings share does not
/// count as common.
const IMAGINED: f64 = 5.0;

/// The share of the imagined findings that has a given word.
const IMAGINED_SHARE: f64 = 0.05;

/// No word weighs less.
const LEAST_WEIGHT: f64 = 0.1;

impl Frequencies {
    /// Counts the words of one more finding.
    pub(super) fn count(&mut self, words: &[String]) {
        self.findings += 1;
        let distinct: HashSet<&String> = words.iter().collect();
        for word in distinct {
            let id = match self.ids.get(word) {
                Some(id) => *id,
                None => {
                    let id = self.seen.len() as u32;
                    self.ids.insert(word.clone(), id);
                    self.seen.push(0);
                    id
                }
            };
            self.seen[id as usize] += 1;
        }
    }

    /// Weighs words: how often this text contains them, times how rare they are in others.
    pub(super) fn weigh(&self, words: &[String]) -> Weighted {
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for word in words {
            if let Some(id) = self.ids.get(word) {
                *counts.entry(*id).or_default() += 1;
            }
        }
        let mut weights: Vec<(u32, f64)> = counts
            .into_iter()
            .map(|(id, times)| {
                let all = f64::from(self.findings) + IMAGINED + 1.0;
                let with = f64::from(self.seen[id as usize]) + IMAGINED * IMAGINED_SHARE + 0.5;
                let rare = (all / with).ln().max(LEAST_WEIGHT);
                (id, (1.0 + f64::from(times).ln()) * rare)
            })
            .collect();
        weights.sort_unstable_by_key(|(id, _)| *id);
        let norm = weights.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
        Weighted { weights, norm }
    }
}

/// Words with their weights, in the order of their numbers.
#[derive(Default)]
pub(super) struct Weighted {
    weights: Vec<(u32, f64)>,
    norm: f64,
}

impl Weighted {
    /// Both weights of each word that both have.
    fn shared<'a>(&'a self, other: &'a Weighted) -> impl Iterator<Item = (f64, f64)> + 'a {
        let (mut i, mut j) = (0, 0);
        std::iter::from_fn(move || {
            while let (Some((a, x)), Some((b, y))) = (self.weights.get(i), other.weights.get(j)) {
                match a.cmp(b) {
                    std::cmp::Ordering::Less => i += 1,
                    std::cmp::Ordering::Greater => j += 1,
                    std::cmp::Ordering::Equal => {
                        i += 1;
                        j += 1;
                        return Some((*x, *y));
                    }
                }
            }
            None
        })
    }

    /// 1 for the same words, 0 for none in common.
    pub(super) fn cosine(&self, other: &Weighted) -> f64 {
        let norms = self.norm * other.norm;
        if norms > 0.0 {
            (self.shared(other).map(|(x, y)| x * y).sum::<f64>() / norms).min(1.0)
        } else {
            0.0
        }
    }

    /// How much of the lighter one's weight is in the other one as well.
    pub(super) fn overlap(&self, other: &Weighted) -> f64 {
        let sum = |w: &Weighted| w.weights.iter().map(|(_, x)| x).sum::<f64>();
        let least = sum(self).min(sum(other));
        if least > 0.0 {
            self.shared(other).map(|(x, y)| x.min(y)).sum::<f64>() / least
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_meet_names() {
        assert_eq!(
            tokens("The timerLeaks in `stop_all`"),
            ["tim", "leak", "stop"]
        );
        assert_eq!(tokens("leaking leaked leaks"), ["leak", "leak", "leak"]);
        assert_eq!(
            names("the `a.b` fooBar and snake_case Word"),
            ["foobar", "snake_case"]
        );
    }

    #[test]
    fn few_findings_still_meet() {
        let texts: Vec<Vec<String>> = ["socket leaks on stop", "stop leaks the socket", "typo"]
            .iter()
            .map(|t| tokens(t))
            .collect();
        let mut all = Frequencies::default();
        texts.iter().for_each(|t| all.count(t));
        let weighted: Vec<Weighted> = texts.iter().map(|t| all.weigh(t)).collect();
        assert!(weighted[0].cosine(&weighted[1]) > 0.99);
        assert!(weighted[0].cosine(&weighted[2]) < 0.01);
        assert!(weighted[0].overlap(&weighted[1]) > 0.99);
    }
}
