//! Checks that prose names only what is in the data.
//!
//! A lead reviewer that writes the summary sees the merged data, and may still invent a finding, a file or a figure.
//! This module checks names and figures, because a reader acts on them; it does not check opinions.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use super::count::{SEVERITIES, counting, figures, files, finished, open, rounds};
use crate::model::{Finding, History, Report};
use crate::standing::{Standing, counts, is_open, standing};

/// Something that prose names and the data does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Invented {
    /// `C7`, where there are six.
    Finding(String),
    /// A path that is neither changed nor named in a review, or a line of one that no review names.
    File(String),
    /// A figure.
    Number(String),
}

impl fmt::Display for Invented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(id) => write!(f, "there is no finding {id}"),
            Self::File(path) => write!(f, "no data names the file or line {path}"),
            Self::Number(number) => write!(f, "the number {number} is not in the data"),
        }
    }
}

#[expect(clippy::unwrap_used, reason = "constants, and the tests compile them")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static ID: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[CIS]\d{1,4}\b"));
/// A path with a folder or a suffix, and the lines behind it.
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?:[\w.@+~-]+/)*[\w.@+~-]*[\w@+~-]\.(?P<suffix>[A-Za-z][A-Za-z0-9_]{0,11})\b(?P<lines>:\d+(?:[-–]\d+)?)?|(?:[\w.@+~-]+/)+[\w@+~-]+(?P<more>:\d+(?:[-–]\d+)?)?",
    )
});
static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"\d+(?:[.,]\d+)*"));
/// `one` is left out: it is a pronoun more often than a figure.
static NUMBER_WORD: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b")
});
const WORDS: [&str; 11] = [
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

/// What the text names and the data does not, each once, in the order of the text. Empty: the prose is accepted.
pub fn check_prose(report: &Report, text: &str) -> Vec<Invented> {
    let facts = Facts::of(report);
    let mut found: Vec<(usize, Invented)> = Vec::new();
    // A text that matched one kind of name is not matched by the next: the `3` of `a.rs:3` is no figure.
    let mut taken = text.to_owned();
    for m in PLACE.find_iter(text) {
        if !facts.names_a_file(m.as_str()) && looks_like_a_file(&facts, m.as_str()) {
            found.push((m.start(), Invented::File(m.as_str().to_owned())));
        } else if !facts.names_a_file(m.as_str()) {
            continue;
        }
        blank(&mut taken, m.start(), m.end());
    }
    for m in ID.find_iter(&taken.clone()) {
        if !facts.ids.contains(m.as_str()) {
            found.push((m.start(), Invented::Finding(m.as_str().to_owned())));
        }
        blank(&mut taken, m.start(), m.end());
    }
    for m in NUMBER.find_iter(&taken) {
        if !facts.numbers.contains(m.as_str()) {
            found.push((m.start(), Invented::Number(m.as_str().to_owned())));
        }
    }
    for m in NUMBER_WORD.find_iter(&taken) {
        let word = m.as_str().to_lowercase();
        let value = WORDS.iter().position(|w| *w == word).map(|n| n + 2);
        if value.is_none_or(|n| !facts.numbers.contains(&n.to_string())) {
            found.push((m.start(), Invented::Number(m.as_str().to_owned())));
        }
    }
    found.sort_by_key(|(at, _)| *at);
    let mut seen = HashSet::new();
    found
        .into_iter()
        .map(|(_, what)| what)
        .filter(|what| seen.insert(what.clone()))
        .collect()
}

/// Overwrites a match with spaces, so that the places of the others stay.
fn blank(text: &mut String, start: usize, end: usize) {
    text.replace_range(start..end, &" ".repeat(end - start));
}

/// Words with a dot or a slash that are no file: `e.g.`, `and/or`, `input/output`.
fn looks_like_a_file(facts: &Facts, text: &str) -> bool {
    let path = text.split(':').next().unwrap_or(text);
    if text.contains(':') {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        // A suffix that occurs in this report, or that people know; `config.Reload` is a name in code.
        Some((stem, suffix)) => {
            !stem.is_empty() && (facts.suffixes.contains(suffix) || SUFFIXES.contains(&suffix))
        }
        None => path.matches('/').count() >= 2,
    }
}

/// Suffixes of source files that no sentence ends with.
const SUFFIXES: [&str; 34] = [
    "rs", "go", "py", "js", "ts", "tsx", "jsx", "vue", "java", "kt", "c", "h", "cc", "cpp", "hpp",
    "cs", "rb", "php", "swift", "sh", "bash", "bats", "ps1", "toml", "yaml", "yml", "json", "md",
    "html", "css", "sql", "proto", "lock", "txt",
];

/// What prose may name.
struct Facts {
    ids: HashSet<String>,
    files: Vec<String>,
    suffixes: HashSet<String>,
    /// Lines that a review names, by file.
    lines: Vec<(String, u32, u32)>,
    numbers: HashSet<String>,
}

impl Facts {
    fn of(report: &Report) -> Self {
        let mut facts = Self {
            ids: HashSet::new(),
            files: files(report).into_iter().map(str::to_owned).collect(),
            suffixes: HashSet::new(),
            lines: Vec::new(),
            numbers: HashSet::new(),
        };
        for finding in report.findings.iter().chain(&report.closed) {
            facts.ids.insert(finding.id.clone());
            facts.read(&finding.lead);
            for voice in &finding.voices {
                facts.read(&voice.finding);
            }
            facts.read_text(finding.disagreement.as_deref().unwrap_or_default());
            match &finding.history {
                History::New => {}
                History::Open { since } | History::Fixed { since } => facts.number(*since as usize),
                History::Declined { since, reason } => {
                    facts.number(*since as usize);
                    facts.read_text(reason);
                }
            }
        }
        for run in &report.reviewers {
            facts.read_run(report, run);
        }
        facts.read_target(report);
        facts.count(report);
        let suffixes: Vec<String> = facts
            .files
            .iter()
            .filter_map(|f| Some(f.rsplit('/').next()?.rsplit_once('.')?.1.to_owned()))
            .collect();
        facts.suffixes.extend(suffixes);
        facts
    }

    fn number(&mut self, number: usize) {
        self.numbers.insert(number.to_string());
    }

    /// Files and numbers of a text that is data.
    fn read_text(&mut self, text: &str) {
        for m in NUMBER.find_iter(text) {
            self.numbers.insert(m.as_str().to_owned());
        }
        for m in NUMBER_WORD.find_iter(text) {
            let word = m.as_str().to_lowercase();
            if let Some(n) = WORDS.iter().position(|w| *w == word) {
                self.number(n + 2);
            }
        }
        for found in PLACE.captures_iter(text) {
            let whole = found[0].to_owned();
            let (path, lines) = whole.split_once(':').unwrap_or((whole.as_str(), ""));
            self.files.push(path.to_owned());
            let mut ends = lines.split(['-', '–']).filter_map(|n| n.parse().ok());
            if let Some(start) = ends.next() {
                self.lines
                    .push((path.to_owned(), start, ends.next().unwrap_or(start)));
            }
        }
    }

    fn read(&mut self, finding: &Finding) {
        for text in [&finding.title, &finding.explanation]
            .into_iter()
            .chain(&finding.quote)
            .chain(&finding.fix)
        {
            self.read_text(text);
        }
        for check in &finding.checks {
            self.read_text(&check.detail);
        }
        for evidence in &finding.evidence {
            self.read_text(&evidence.command);
            self.read_text(evidence.output.as_deref().unwrap_or_default());
        }
        for place in &finding.locations {
            self.files.push(place.path.clone());
            if let Some(start) = place.start {
                let end = place.end.unwrap_or(start);
                self.lines.push((place.path.clone(), start, end));
                self.number(start as usize);
                self.number(end as usize);
            }
        }
    }

    fn read_run(&mut self, report: &Report, run: &crate::model::ReviewerRun) {
        self.read_text(&run.name);
        self.read_text(&run.review.summary);
        let review = &run.review;
        for note in [
            &review.strengths,
            &review.concerns,
            &review.testing_gaps,
            &review.documentation,
            &review.commit_structure,
            &review.acknowledged_limitations,
            &review.unresolved_feedback,
        ]
        .into_iter()
        .flatten()
        {
            self.read_text(&note.text);
        }
        self.read_text(run.outcome.trouble().unwrap_or_default());
        let figures = figures(report, run);
        for n in figures.by_severity.into_iter().chain([
            figures.unique,
            figures.false_positives.unwrap_or(0),
            figures.downgraded,
            figures.files_covered.unwrap_or(0),
            figures.missed_files.unwrap_or(0),
            figures.observations,
            figures.by_severity.iter().sum(),
        ]) {
            self.number(n);
        }
        if let Some(seconds) = run.performance.seconds {
            self.read_text(&super::count::duration(seconds));
        }
        let spent = [run.performance.input_tokens, run.performance.output_tokens];
        for tokens in spent.into_iter().flatten() {
            self.numbers.insert(tokens.to_string());
            self.read_text(&super::count::tokens(tokens));
        }
        if let Some(cost) = run.performance.cost_usd {
            self.read_text(&format!("{cost:.2}"));
        }
    }

    fn read_target(&mut self, report: &Report) {
        let target = &report.target;
        let texts = [&target.name, &target.head, &target.base, &report.date];
        let more = [&target.repo, &target.title, &target.author, &target.url];
        for text in texts
            .into_iter()
            .chain(more.into_iter().flatten())
            .chain(&target.commits)
        {
            self.read_text(text);
        }
        for change in &target.changes {
            self.number(change.added as usize);
            self.number(change.removed as usize);
            self.files.extend(change.old_path.clone());
        }
        let sum = |of: fn(&crate::model::FileChange) -> u32| {
            target.changes.iter().map(|c| of(c) as usize).sum()
        };
        self.number(sum(|c| c.added));
        self.number(sum(|c| c.removed));
        self.read_text(&super::count::duration(report.seconds));
    }

    fn count(&mut self, report: &Report) {
        let done = finished(report).len();
        let all = report.findings.len();
        let how_many = |wanted: &dyn Fn(&crate::model::MergedFinding) -> bool| {
            report.findings.iter().filter(|f| wanted(f)).count()
        };
        for n in [
            1,
            report.round as usize,
            report.reviewers.len(),
            done,
            report.reviewers.len() - done,
            all,
            report.closed.len(),
            report.target.files.len(),
            report.target.commits.len(),
            report.findings.iter().map(|f| f.voices.len()).sum(),
            how_many(&is_open),
            how_many(&counts),
            how_many(&|f| f.reviewers().len() > 1),
            how_many(&|f| f.reviewers().len() == 1),
            how_many(&|f| matches!(f.history, History::New)),
            how_many(&|f| matches!(f.history, History::Open { .. })),
        ] {
            self.number(n);
        }
        for wanted in [
            Standing::Shown,
            Standing::Located,
            Standing::Unchecked,
            Standing::Refuted,
        ] {
            self.number(how_many(&|f| standing(f) == wanted));
        }
        for severity in SEVERITIES {
            self.number(open(report, severity));
            self.number(counting(report, severity));
            self.number(how_many(&|f| f.severity == severity));
        }
        self.number(
            SEVERITIES[..2]
                .iter()
                .map(|s| counting(report, *s))
                .sum::<usize>(),
        );
        for round in rounds(report) {
            for n in [
                round.number,
                round.critical,
                round.important,
                round.suggestions,
                round.fixed,
                round.declined,
            ] {
                self.number(n as usize);
            }
        }
        for names in 0..=report.reviewers.len() {
            let shared = how_many(&|f| f.reviewers().len() == names);
            self.number(shared);
        }
    }

    /// Whether the data names this file; a shorter path can mean a longer one that ends with it.
    fn names_a_file(&self, text: &str) -> bool {
        let (path, lines) = text.split_once(':').unwrap_or((text, ""));
        let same = |known: &str| {
            known == path
                || known
                    .strip_suffix(path)
                    .is_some_and(|before| before.ends_with('/'))
                || known
                    .strip_prefix(path)
                    .is_some_and(|after| after.starts_with('/'))
        };
        if !self.files.iter().any(|f| same(f)) {
            return false;
        }
        let mut ends = lines.split(['-', '–']).filter_map(|n| n.parse().ok());
        let Some(start) = ends.next() else {
            return true;
        };
        let end: u32 = ends.next().unwrap_or(start);
        self.lines
            .iter()
            .any(|(file, from, to)| same(file) && *from <= start && end <= *to)
    }
}
