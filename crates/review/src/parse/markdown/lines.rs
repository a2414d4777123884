//! Splits Markdown into lines and marks the lines of fenced code.

use super::body;
use super::embedded::opens_a_finding;
use super::headline::{headline, starts_with_an_id};
use super::section::{Section, heading, section};

/// The kind of a line with respect to fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ordinary text.
    Text,
    /// The line that opens or closes a fence.
    Fence,
    /// Inside a fence.
    Code,
}

/// A line with its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

/// Replaces the line of an ignored fence.
const BLANK: Line<'_> = Line {
    text: "",
    kind: Kind::Text,
};

/// A fence that is open: its character and how many of them.
struct Fence {
    marker: char,
    length: usize,
}

fn fence(text: &str) -> Option<(char, usize, &str)> {
    let text = text.trim_start();
    let marker = text.chars().next().filter(|c| *c == '`' || *c == '~')?;
    let length = text.chars().take_while(|c| *c == marker).count();
    let info = text[length..].trim();
    // Backticks in the info string: inline code that happens to start the line.
    (length >= 3 && !(marker == '`' && info.contains('`'))).then_some((marker, length, info))
}

/// Splits a text into lines.
///
/// Tolerates three errors of reviewers, because each would hide findings: a fence that is never closed opens nothing; a
/// fence of three backticks around a whole review (which itself contains such fences) is ignored, and so is a fence around
/// a finding's headline.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let raw: Vec<&str> = text.lines().collect();
    let closers = Closers::new(&raw);
    let mut result = Vec::with_capacity(raw.len());
    let mut open: Option<Fence> = None;
    let mut wrapped = false;
    // The length of the fence around a headline, while it is open.
    let mut around: Option<usize> = None;
    let mut above = "";
    for (number, text) in raw.iter().enumerate() {
        let kind = match (&open, fence(text)) {
            (None, Some(('`', length, info)))
                if around.is_none()
                    && may_wrap(info)
                    && holds_a_headline(&raw[number + 1..], above)
                    && closers.behind(number, '`', length) =>
            {
                around = Some(length);
                result.push(BLANK);
                continue;
            }
            (None, Some(('`', length, ""))) if around.is_some_and(|wrap| length >= wrap) => {
                around = None;
                result.push(BLANK);
                continue;
            }
            (None, Some((_, _, info)))
                if may_wrap(info)
                    && !is_quoted_below(above)
                    && holds_a_review(&raw[number + 1..]) =>
            {
                wrapped = true;
                Kind::Fence
            }
            (None, Some((_, _, ""))) if wrapped && ends_a_review(&raw[number + 1..]) => {
                wrapped = false;
                Kind::Fence
            }
            (None, Some((marker, length, _))) => {
                if closers.behind(number, marker, length) {
                    open = Some(Fence { marker, length });
                }
                Kind::Fence
            }
            (None, None) => Kind::Text,
            (Some(o), Some((marker, length, info)))
                if marker == o.marker && length >= o.length && info.is_empty() =>
            {
                open = None;
                Kind::Fence
            }
            (Some(_), _) => Kind::Code,
        };
        if kind == Kind::Text && !text.trim().is_empty() {
            above = text;
        }
        result.push(Line { text, kind });
    }
    result
}

fn may_wrap(info: &str) -> bool {
    matches!(
        info.to_ascii_lowercase().as_str(),
        "" | "markdown" | "md" | "text"
    )
}

/// How many lines of a fence are read to see whether it holds a review. A title, a table of metadata, the summary's
/// heading.
const LONGEST_OPENING: usize = 30;

fn holds_a_review(rest: &[&str]) -> bool {
    rest.iter()
        .take(LONGEST_OPENING)
        .take_while(|l| fence(l).is_none())
        .filter_map(|l| heading(l))
        .any(|(_, title)| {
            section(title).is_some_and(|s| s == Section::Summary || s.holds_findings())
        })
}

/// Whether a fence whose content is `rest` begins with the headline of a finding. A quotation
/// does not count, because the change can contain text that looks like a headline.
fn holds_a_headline(rest: &[&str], above: &str) -> bool {
    let first = rest.iter().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| {
        starts_with_an_id(line)
            && headline(line).is_some_and(|head| {
                head.severity_of_id().is_some()
                    && (line.contains("**") || !head.locations.is_empty())
            })
    }) && !is_quoted_below(above)
}

/// Whether code below a line is a quotation: below a headline or a label such as `Fix:`.
pub(super) fn is_quoted_below(above: &str) -> bool {
    opens_a_finding(above) || body::is_labelled(above)
}

fn ends_a_review(rest: &[&str]) -> bool {
    rest.iter()
        .find(|l| !l.trim().is_empty())
        .is_none_or(|l| l.starts_with('#') || l.starts_with("---"))
}

/// Where a fence can still be closed. Computed once, so that many open fences take linear time.
struct Closers {
    /// For each line the longest bare fence behind it: of backticks, of tildes.
    longest_behind: Vec<(usize, usize)>,
}

impl Closers {
    fn new(raw: &[&str]) -> Self {
        let mut longest_behind = vec![(0, 0); raw.len()];
        let mut longest = (0, 0);
        for (number, text) in raw.iter().enumerate().rev() {
            longest_behind[number] = longest;
            match fence(text) {
                Some(('`', length, "")) => longest.0 = longest.0.max(length),
                Some(('~', length, "")) => longest.1 = longest.1.max(length),
                _ => {}
            }
        }
        Self { longest_behind }
    }

    fn behind(&self, line: usize, marker: char, length: usize) -> bool {
        self.longest_behind
            .get(line)
            .is_some_and(|(ticks, tildes)| length <= if marker == '`' { *ticks } else { *tildes })
    }
}

/// Removes an indentation or a quote mark that every line has, because some reports contain reviews in that form.
pub(super) fn dedent(text: &str) -> String {
    let (mut all, mut indented, mut quoted) = (0usize, 0usize, 0usize);
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        all += 1;
        indented += usize::from(line.starts_with("    ") || line.starts_with('\t'));
        quoted += usize::from(line.starts_with('>'));
    }
    let strip: fn(&str) -> &str = if all > 0 && indented * 10 >= all * 9 {
        |l| {
            l.strip_prefix("    ")
                .or_else(|| l.strip_prefix('\t'))
                .unwrap_or(l.trim_start())
        }
    } else if all > 0 && quoted * 10 >= all * 9 {
        |l| {
            let l = l.strip_prefix('>').unwrap_or(l);
            l.strip_prefix(' ').unwrap_or(l)
        }
    } else {
        return text.to_owned();
    };
    text.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// The language of a fence's opening line.
pub(super) fn language(text: &str) -> &str {
    fence(text).map_or("", |(_, _, info)| {
        info.split_whitespace().next().unwrap_or("")
    })
}

/// Whether a line opens or closes a fence of any length.
pub(super) fn is_fence(text: &str) -> bool {
    fence(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        lines(text).iter().map(|l| l.kind).collect()
    }

    #[test]
    fn longer_fence_contains_shorter_ones() {
        use Kind::{Code, Fence, Text};
        assert_eq!(
            kinds("````md\n```go\nx\n```\n````\ny"),
            [Fence, Code, Code, Code, Fence, Text]
        );
    }

    #[test]
    fn unclosed_fence_hides_nothing() {
        assert_eq!(
            kinds("```go\nx\n## Suggestions"),
            [Kind::Fence, Kind::Text, Kind::Text]
        );
    }

    #[test]
    fn fence_around_whole_review_is_ignored() {
        use Kind::{Code, Fence, Text};
        assert_eq!(
            kinds("```\n## Findings\n```go\nx\n```\ny\n```\n\n### Next\n```\nz\n```"),
            [
                Fence, Text, Fence, Code, Fence, Text, Fence, Text, Text, Fence, Code, Fence
            ]
        );
        // A quoted document is not a review.
        assert_eq!(kinds("```markdown\n## Usage\n```"), [Fence, Code, Fence]);
    }

    #[test]
    fn common_indentation_is_removed() {
        assert_eq!(dedent("    # A\n\n    ```\n      b\n"), "# A\n\n```\n  b");
        assert_eq!(dedent("> # A\n>\n> b"), "# A\n\nb");
        assert_eq!(dedent("# A\n    b"), "# A\n    b");
    }

    #[test]
    fn inline_code_at_line_start_is_not_a_fence() {
        assert_eq!(kinds("```x``` is code"), [Kind::Text]);
    }
}
