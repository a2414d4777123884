//! Which part of a review a heading opens.

use std::sync::LazyLock;

use regex::Regex;

use super::headline::regex;
use super::severity::severity;
use crate::model::Severity;

/// The parts of a review, of a report, and of what surrounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Preamble,
    Summary,
    /// Findings without a severity of their own section.
    Findings,
    Severity(Severity),
    Design,
    Concerns,
    Strengths,
    Testing,
    Documentation,
    Commits,
    Limitations,
    Feedback,
    Coverage,
    Performance,
    /// Notes about the review itself.
    Process,
    Resolution,
    /// The whole consolidated review of a report.
    Consolidated,
    /// The reviewers' original texts.
    Appendix,
}

impl Section {
    /// Whether this section contains findings.
    pub(super) fn holds_findings(self) -> bool {
        matches!(self, Section::Findings | Section::Severity(_))
    }
}

/// A heading: its level (1 to 6; 7 for a bold line that plays a heading) and its text.
pub(super) fn heading(text: &str) -> Option<(usize, &str)> {
    let text = text.trim_end();
    let level = text.chars().take_while(|c| *c == '#').count();
    if (1..=6).contains(&level) {
        let title = &text[level..];
        return title
            .starts_with([' ', '\t'])
            .then(|| (level, title.trim().trim_end_matches('#').trim()));
    }
    let bold = text.trim().strip_prefix("**")?.strip_suffix("**")?;
    (!bold.contains("**")).then(|| (7, bold.trim()))
}

/// The section that a heading's text names, when it names one.
pub(super) fn section(title: &str) -> Option<Section> {
    let title = title
        .trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| title.starts_with(w));
    // A long title is a finding or a sentence, not the name of a section.
    if title.chars().count() > 60 {
        let group = |name: &str| title.starts_with(&format!("{name} — "));
        return [
            ("critical", Severity::Critical),
            ("important", Severity::Important),
            ("advisory", Severity::Suggestion),
        ]
        .into_iter()
        .find(|(name, _)| group(name))
        .map(|(_, severity)| Section::Severity(severity));
    }
    Some(match () {
        () if starts(&["executive summary", "summary of changes", "overview"])
            || title == "summary" =>
        {
            Section::Summary
        }
        () if starts(&[
            "critical issue",
            "critical finding",
            "critical —",
            "critical (",
        ]) || title == "critical" =>
        {
            Section::Severity(Severity::Critical)
        }
        () if starts(&[
            "important issue",
            "important finding",
            "important —",
            "important (",
        ]) || title == "important" =>
        {
            Section::Severity(Severity::Important)
        }
        () if starts(&["suggestion", "minor issue", "nits", "minor suggestions"]) => {
            Section::Severity(Severity::Suggestion)
        }
        () if matches!(
            title.as_str(),
            "findings"
                | "issues"
                | "open issues"
                | "issues found"
                | "problems"
                | "problems found"
                | "bugs"
                | "review comments"
                | "inline comments"
                | "comments"
        ) || starts(&["detailed findings", "key findings", "review findings"]) =>
        {
            Section::Findings
        }
        // Scans of a supply chain call what is not urgent so.
        () if title == "advisory" || starts(&["advisory —", "advisory (", "advisories"]) => {
            Section::Severity(Severity::Suggestion)
        }
        () if starts(&["retro"]) => Section::Process,
        () if starts(&[
            "design observation",
            "design assessment",
            "design concerns",
            "design notes",
        ]) =>
        {
            if title.starts_with("design concerns") {
                Section::Concerns
            } else {
                Section::Design
            }
        }
        () if starts(&["concerns"]) => Section::Concerns,
        () if starts(&[
            "strengths",
            "what is good",
            "what's good",
            "what works",
            "what went well",
            "positive",
            "praise",
        ]) =>
        {
            Section::Strengths
        }
        () if starts(&[
            "testing assessment",
            "test coverage",
            "testing gaps",
            "testing",
        ]) =>
        {
            Section::Testing
        }
        () if starts(&["documentation assessment", "documentation"]) => Section::Documentation,
        () if starts(&["commit structure", "commit assessment"]) => Section::Commits,
        () if starts(&["acknowledged limitation", "declined in prior"]) => Section::Limitations,
        () if starts(&["unresolved feedback"]) => Section::Feedback,
        () if starts(&["coverage summary", "file coverage"]) => Section::Coverage,
        () if starts(&[
            "agent performance",
            "performance retro",
            "reviewer performance",
        ]) =>
        {
            Section::Performance
        }
        () if starts(&[
            "unread text",
            "review process notes",
            "skill improvement",
            "repo context",
            "improvement recommendations",
        ]) =>
        {
            Section::Process
        }
        () if title == "resolution" => Section::Resolution,
        () if starts(&["consolidated review"]) => Section::Consolidated,
        () if starts(&["appendix"]) => Section::Appendix,
        () => Section::Severity(severity_of_section(&title)?),
    })
}

/// `blockers`, `high priority`, `minor issues (optional)`, `nits and typos`: the words of other reviewers.
static SEVERITY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:severity|priority|level)?[: ]*(critical|blocker|blocking|severe|must[- ]fix|should[- ]fix|high|major|medium|moderate|serious|warning|low|minor|nit|nitpick|trivial|optional|informational|nice[- ]to[- ]have|p[0-4])s?(?:[ -](?:severity|priority|risk|impact|level))?(?: (?:issue|finding|problem|bug|concern|comment|item|fix|fixe|change|improvement|point|remark)s?)?(?: ?(?:/|&|and|or) ?[\w-]{1,20})?(?: ?\(.*)?$",
    )
});

fn severity_of_section(title: &str) -> Option<Severity> {
    severity(&SEVERITY.captures(title)?[1])
}

/// A line such as `Blockers:` without any mark of a heading.
pub(super) fn plain_heading(text: &str) -> Option<Section> {
    let title = text.trim_end().strip_suffix(':')?;
    (title.starts_with(char::is_uppercase) && title.len() <= 40)
        .then(|| severity_of_section(&title.to_lowercase()))?
        .map(Section::Severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_bold_lines_open_sections() {
        for (text, expected) in [
            (
                "## Critical Issues — must fix before merge",
                Some(Section::Severity(Severity::Critical)),
            ),
            (
                "**Important Issues**",
                Some(Section::Severity(Severity::Important)),
            ),
            (
                "##### Suggestions",
                Some(Section::Severity(Severity::Suggestion)),
            ),
            ("### Appendix C: Gemini", Some(Section::Appendix)),
            ("## PR #12: change things", None),
            (
                "## 🔴 Blockers (2)",
                Some(Section::Severity(Severity::Critical)),
            ),
            (
                "### Medium severity",
                Some(Section::Severity(Severity::Important)),
            ),
            (
                "**Nits & typos:**",
                Some(Section::Severity(Severity::Suggestion)),
            ),
            ("### Major: the lock is never released", None),
            ("### High memory use", None),
        ] {
            assert_eq!(
                heading(text).and_then(|(_, title)| section(title)),
                expected,
                "{text}"
            );
        }
        assert_eq!(heading("#hashtag"), None);
        assert_eq!(heading("**bold** and more"), None);
    }
}
