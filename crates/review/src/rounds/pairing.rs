//! Which finding of this round is which of an earlier one.

use std::collections::BTreeMap;

use super::Known;
use crate::merge::{THRESHOLD, compare, fingerprint_base};
use crate::model::{Finding, MergedFinding};

/// The score from which two findings with the same fingerprint are matched. They are at the same code, so it is much lower
/// than for others. It is not 0, because a line can contain two defects, and a declined one must not hide the other.
const SAME_CODE: f64 = 0.10;

/// How much the same code counts for when one finding could be two others.
const BONUS: f64 = 0.5;

/// Above so many comparisons only what is shown of each finding is compared, not what each reviewer said.
const COMPARISONS: usize = 1_000_000;

/// Which current finding each known one is: index of the known one → index of the current one. The best pairs first.
pub(super) fn pair(current: &[MergedFinding], known: &[Known]) -> BTreeMap<usize, usize> {
    let known: Vec<&MergedFinding> = known.iter().map(|known| &known.finding).collect();
    let current: Vec<&MergedFinding> = current.iter().collect();
    let mut candidates: Vec<(f64, usize, usize)> = Vec::new();
    for ((at, to), [plain, at_same_code]) in scores(&known, &current) {
        let same =
            fingerprint_base(&known[at].fingerprint) == fingerprint_base(&current[to].fingerprint);
        if same && at_same_code >= SAME_CODE {
            candidates.push((at_same_code + BONUS, at, to));
        } else if plain >= THRESHOLD {
            candidates.push((plain, at, to));
        }
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut pairs = BTreeMap::new();
    let mut taken = vec![false; current.len()];
    for (_, at, to) in candidates {
        if !pairs.contains_key(&at) && !taken[to] {
            taken[to] = true;
            pairs.insert(at, to);
        }
    }
    pairs
}

type Scores = BTreeMap<(usize, usize), [f64; 2]>;

/// The best score between what was said of one and of the other: another reviewer's words may lead now. The second
/// one is for findings at the same code, which may have moved far.
fn scores(known: &[&MergedFinding], current: &[&MergedFinding]) -> Scores {
    let said = |all: &[&MergedFinding]| -> usize { all.iter().map(|f| f.voices.len()).sum() };
    let whole = said(known).saturating_mul(said(current)) <= COMPARISONS;
    let (old, old_of) = texts(known, whole);
    let (new, new_of) = texts(current, whole);
    let mut best = Scores::new();
    for (row, at) in compare(&old, &new).iter().zip(&old_of) {
        for (likeness, to) in row.iter().zip(&new_of) {
            let near = crate::merge::Likeness {
                apart: false,
                ..*likeness
            };
            let [plain, same] = best.entry((*at, *to)).or_insert([0.0, 0.0]);
            *plain = plain.max(likeness.score());
            *same = same.max(near.score());
        }
    }
    best
}

/// What is compared, and of which finding each is.
fn texts<'a>(all: &[&'a MergedFinding], whole: bool) -> (Vec<&'a Finding>, Vec<usize>) {
    let mut texts = Vec::new();
    let mut of = Vec::new();
    for (at, finding) in all.iter().enumerate() {
        let voices = finding.voices.iter().map(|voice| &voice.finding);
        let others = voices.filter(|said| whole && **said != finding.lead);
        for text in std::iter::once(&finding.lead).chain(others) {
            texts.push(text);
            of.push(at);
        }
    }
    (texts, of)
}
