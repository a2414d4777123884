//! The one line that opens a finding, in the dialects that reviewers write.
//!
//! ```text
//! I1. **Title with `code`** — `path/a.rs:10-12`, `path/b.rs:3` (important, regression) [Claude] [Codex]
//! **C2. Title** — `path:3` `(critical, gap)`
//! 3. **Title** — path.rs:10 *(suggestion, gap)*
//! **[CRITICAL] path/a.rs:10-12 — Title**
//! ### Finding 2: Title            (the place follows in a line `**File:** …`)
//! ```

use std::sync::LazyLock;

use regex::Regex;

use super::place::{locations, only_places, range};
use super::severity::severity;
use crate::model::{Class, Location, Scope, Severity};

/// What a finding's first line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Headline {
    /// `I1`, `3`; empty when the dialect has none.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) locations: Vec<Location>,
    pub(super) severity: Option<Severity>,
    pub(super) class: Option<Class>,
    pub(super) scope: Option<Scope>,
    pub(super) reviewers: Vec<String>,
    /// Text behind the title that is neither place nor tag. A sentence here means that the line is probably not a headline.
    pub(super) rest: String,
    /// The line is a whole list item, not only a title.
    pub(super) is_item: bool,
}

impl Headline {
    /// The severity that the letter of the id names.
    pub(super) fn severity_of_id(&self) -> Option<Severity> {
        match self.id.chars().next()? {
            'C' => Some(Severity::Critical),
            'I' | 'H' | 'M' => Some(Severity::Important),
            'S' | 'L' => Some(Severity::Suggestion),
            _ => None,
        }
    }
}

#[expect(
    clippy::unwrap_used,
    reason = "the pattern is a constant, and a test compiles it"
)]
pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static ID: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?:Finding |Issue |#)?\[?((?:[A-KM-Z]-?|L-)?\d{1,3})\]?(?:[.:)]| [—–-])\s*")
});
static BRACKET_SEVERITY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^\[(critical|important|suggestion|blocker|blocking|major|minor|nit|nitpick|high|medium|low|warning|p[0-4])\]\s*[:—–-]?\s*",
    )
});
/// `Major: `, `🔴 High — `, `P1 - `.
static BARE_SEVERITY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^[^\w`\[(]*(critical|important|suggestion|blocker|blocking|major|minor|nit|nitpick|high|medium|low|warning|p[0-4])(?: severity| priority)?(?:\s*:| [—–-])\s+",
    )
});
static BARE_PLACE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^((?:[\w.@+~-]+/)*[\w@+~-][\w.@+~-]*\.\w{1,12}(?::\d+(?:[-–]\d+)?(?:,\s*\d+(?:[-–]\d+)?)*)?)",
    )
});

/// Bytes of the longest identifier in backticks.
const LONGEST_ID: usize = 8;

/// Bytes of the longest headline. Real ones stay under 600; what is longer is text, and looking for partners of
/// brackets in it would cost the square of its length.
const LONGEST: usize = 2_000;

/// Reads a line as a headline. `None`: it cannot be one.
pub(super) fn headline(line: &str) -> Option<Headline> {
    let mut text = line.trim();
    if text.len() > LONGEST {
        return None;
    }
    let hashes = text.chars().take_while(|c| *c == '#').count();
    text = text[hashes..].trim_start();
    text = text
        .strip_prefix("- ")
        .or_else(|| text.strip_prefix("* "))
        .unwrap_or(text);

    let mut result = Headline::default();
    let mut took_id = take_id(&mut text, &mut result);
    // `**C5** — Title`: only the id is bold.
    if let Some((inside, rest)) = text.strip_prefix("**").and_then(|t| t.split_once("**"))
        && LETTERED_WHOLE.is_match(inside)
    {
        result.id = inside.trim_end_matches(['.', ':']).to_owned();
        text = rest.trim_start_matches(['.', ':', ')', '—', '–', '-', ' ']);
        took_id = true;
    }
    // `**C1. Title** — …`: the id is inside the bold text.
    let (title, rest) = if let Some(bold) = text.strip_prefix("**") {
        let end = closing_bold(bold)?;
        let (mut inner, rest) = (bold[..end].trim(), &bold[end + 2..]);
        if !took_id {
            take_id(&mut inner, &mut result);
        }
        (inner.to_owned(), rest)
    } else if took_id || hashes > 0 {
        // Without bold text the title reaches to the dash before the place.
        match text
            .find(" — `")
            .or_else(|| text.find(" - `"))
            .or_else(|| text.find(" – `"))
        {
            Some(at) => (text[..at].to_owned(), &text[at..]),
            None => (text.to_owned(), ""),
        }
    } else {
        return None;
    };

    let mut title = title.trim();
    if let Some(found) = BRACKET_SEVERITY.captures(title) {
        result.severity = severity(&found[1]);
        title = &title[found[0].len()..];
    } else if let Some(found) = BARE_SEVERITY.captures(title) {
        result.severity = severity(&found[1]);
        title = &title[found[0].len()..];
    }
    // `path:lines — Title`, and `Title — path:lines` with the place inside the bold text.
    if let Some((place, words)) = split_dash(title) {
        let places = locations(place);
        if !places.is_empty() && only_places(place) {
            result.locations = places;
            title = words;
        } else if let Some((words, place)) = title.rsplit_once(" — ") {
            let places = locations(place);
            if !places.is_empty() && only_places(place) {
                result.locations = places;
                title = words;
            }
        }
    }
    // `**Title (suggestion, gap)**`: tags inside the bold text.
    if let Some((words, tags)) = title.strip_suffix(')').and_then(|t| t.rsplit_once('(')) {
        let mut tagged = Headline::default();
        if take_tags(tags, &mut tagged) && tagged.severity.is_some() {
            (result.severity, result.class) = (tagged.severity, tagged.class.or(result.class));
            title = words;
        }
    }
    result.title = plain(title);
    take_tail(rest, &mut result);
    (!result.title.is_empty()).then_some(result)
}

/// Reads a list item that is a finding by itself: `` - `path:3` — what is wrong there ``. The title is its first
/// sentence.
pub(super) fn placed_item(line: &str) -> Option<Headline> {
    let text = line
        .strip_prefix("- ")
        .or_else(|| line.strip_prefix("* "))?;
    let (place, words) = split_dash(text)?;
    if !place.starts_with('`') || !only_places(place) {
        return None;
    }
    let end = words
        .char_indices()
        .find(|(at, c)| {
            *c == '.'
                && words[at + 1..].starts_with(' ')
                && words[..*at].matches('`').count() % 2 == 0
        })
        .map_or(words.len(), |(at, _)| at);
    Some(Headline {
        title: plain(&words[..end]),
        locations: locations(place),
        is_item: true,
        ..Headline::default()
    })
}

static LETTERED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^[#\s>*`|-]*(?:[CIHMS]-?\d{1,3})[.:)*`\]|]"));

static LETTERED_WHOLE: LazyLock<Regex> = LazyLock::new(|| regex(r"^[CIHMS]-?\d{1,3}[.:]?$"));

/// Whether a line begins with an identifier of a finding, such as `C1.` or `**I2**`.
pub(in crate::parse) fn starts_with_an_id(line: &str) -> bool {
    LETTERED.is_match(line)
}

/// Where the bold text ends: the first `**` outside inline code, else the first at all.
fn closing_bold(text: &str) -> Option<usize> {
    let mut code = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' => code = !code,
            '*' if !code && text[at..].starts_with("**") => return Some(at),
            _ => {}
        }
    }
    text.find("**")
}

fn take_id(text: &mut &str, result: &mut Headline) -> bool {
    // `I1.` in backticks.
    if let Some((inside, rest)) = text.strip_prefix('`').and_then(|t| t.split_once('`'))
        && inside.len() <= LONGEST_ID
        && ID
            .find(&format!("{inside} "))
            .or(ID.find(&format!("{inside}. ")))
            .is_some_and(|m| m.end() > inside.len())
    {
        result.id = inside
            .trim_end_matches(['.', ':', ')'])
            .trim_matches(['[', ']'])
            .to_owned();
        *text = rest.trim_start_matches(['.', ':', ')', ' ']);
        return true;
    }
    match ID.captures(text) {
        Some(found) => {
            match severity(&found[1]) {
                // `P1:` says how bad it is; the next one is called so too.
                Some(named) => result.severity = Some(named),
                None => result.id = found[1].to_owned(),
            }
            *text = text[found[0].len()..].trim_start();
            true
        }
        None => false,
    }
}

fn split_dash(text: &str) -> Option<(&str, &str)> {
    text.split_once(" — ")
        .or_else(|| text.split_once(" – "))
        // A hyphen is in many a title; behind a place it is a dash.
        .or_else(|| {
            text.split_once(" - ")
                .filter(|(place, _)| only_places(place) && !locations(place).is_empty())
        })
}

/// Reads what follows the title: places, tags, reviewers, in any order.
fn take_tail(tail: &str, result: &mut Headline) {
    let mut text = tail.trim();
    let mut rest = String::new();
    while let Some(first) = text.chars().next() {
        if matches!(
            first,
            '—' | '–' | '-' | ':' | ',' | ';' | '*' | '_' | '/' | '&'
        ) || first.is_whitespace()
        {
            text = &text[first.len_utf8()..];
            continue;
        }
        // Between two places; in a sentence the word stays.
        if let Some(after) = text
            .strip_prefix("and ")
            .or_else(|| text.strip_prefix("vs "))
            .map(str::trim_start)
            .filter(|after| after.starts_with('`') || BARE_PLACE.is_match(after))
        {
            text = after;
            continue;
        }
        if first == '`'
            && let Some(end) = text[1..].find('`')
        {
            let inner = &text[1..=end];
            text = &text[end + 2..];
            if let Some(tags) = inner.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
                take_tags(tags, result);
            } else {
                take_places(inner, result, &mut rest);
            }
            continue;
        }
        if first == '('
            && let Some(end) = closing(text, '(', ')')
        {
            let inner = &text[1..end];
            text = &text[end + 1..];
            if !take_tags(inner, result) {
                let before = result.locations.len();
                result.locations.extend(locations(inner));
                if before == result.locations.len() && inner.split_whitespace().count() > 12 {
                    rest.push_str(inner);
                }
            }
            continue;
        }
        if first == '['
            && let Some(end) = closing(text, '[', ']')
        {
            let inner = &text[1..end];
            text = &text[end + 1..];
            if let Some(target) = text
                .strip_prefix('(')
                .and_then(|t| t.find(')').map(|e| &t[..e]))
            {
                // A Markdown link: only places in its text are used.
                text = &text[target.len() + 2..];
                take_places(inner.trim_matches('`'), result, &mut rest);
                continue;
            }
            if let Some(s) = severity(inner) {
                result.severity = Some(s);
            } else if !take_tags(inner, result) {
                result.reviewers.extend(
                    inner
                        .split([',', '+'])
                        // `[Claude (as S5)]`: what is behind the name is not the name.
                        .map(|r| r.split(" (").next().unwrap_or(r).trim().to_owned())
                        .filter(|r| !r.is_empty()),
                );
            }
            continue;
        }
        if let Some(found) = BARE_PLACE.captures(text) {
            let place = found[1].to_owned();
            text = &text[found[0].len()..];
            result.locations.extend(locations(&place));
            continue;
        }
        // A word that is none of these.
        let end = text.find(|c: char| c.is_whitespace()).unwrap_or(text.len());
        rest.push_str(&text[..end]);
        rest.push(' ');
        text = &text[end..];
    }
    result.rest = rest.trim().to_owned();
}

fn take_places(inner: &str, result: &mut Headline, rest: &mut String) {
    let found = locations(inner);
    if found.is_empty() {
        rest.push_str(inner);
        rest.push(' ');
    }
    // `file.rs:3`, `:7`: a bare line belongs to the file before it.
    if let (Some(lines), Some(last)) = (inner.strip_prefix(':'), result.locations.last().cloned())
        && let Some((start, end)) = range(lines)
    {
        result.locations.push(Location {
            path: last.path,
            start: Some(start),
            end,
        });
        rest.truncate(rest.len().saturating_sub(inner.len() + 1));
        return;
    }
    result.locations.extend(found);
}

fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// The tags of a line that holds nothing else: `(important, regression)`, also in backticks or emphasised.
pub(super) fn tag_line(line: &str) -> Option<Headline> {
    let inside = line.trim().trim_matches(['`', '*', '_']);
    let inside = inside
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .or_else(|| inside.strip_prefix('[').and_then(|t| t.strip_suffix(']')))?;
    let mut tags = Headline::default();
    let all = inside.split([',', ';', '/', '·']).all(|word| {
        let mut one = Headline::default();
        take_tags(word, &mut one)
    });
    (all && take_tags(inside, &mut tags)).then_some(tags)
}

/// `important, regression`: true when every word is a tag (or a remark behind one).
fn take_tags(text: &str, result: &mut Headline) -> bool {
    let mut any = false;
    for word in text.split([',', ';', '/', '·']) {
        let word = word.trim().trim_matches(['*', '_', '`']).to_lowercase();
        let word = ["severity:", "priority:"]
            .iter()
            .find_map(|label| word.strip_prefix(label))
            .map_or(word.as_str(), str::trim);
        if let Some(s) = severity(word) {
            result.severity = Some(s);
            any = true;
        } else {
            match word {
                "regression" => (result.class, any) = (Some(Class::Regression), true),
                "gap" | "pre-existing" | "pre-existing gap" => {
                    (result.class, any) = (Some(Class::Gap), true);
                }
                "enhancement" => (result.class, any) = (Some(Class::Enhancement), true),
                "in-scope" | "in scope" => (result.scope, any) = (Some(Scope::InScope), true),
                "future" | "future work" | "out-of-scope" => {
                    (result.scope, any) = (Some(Scope::Future), true);
                }
                _ => {}
            }
        }
    }
    any
}

/// Without emphasis, on one line.
fn plain(title: &str) -> String {
    title
        .replace("**", "")
        .replace("~~", "")
        .trim()
        .trim_end_matches([':', '—', '–'])
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects() {
        for (line, id, title, path, severity_, class, reviewers) in [
            (
                "I1. **Title of `code`** — `a/b.rs:10-12`, `c.rs:3` (important, regression) [Claude A] [Codex B]",
                "I1",
                "Title of `code`",
                "a/b.rs",
                Some(Severity::Important),
                Some(Class::Regression),
                2,
            ),
            (
                "**C2. Bold `x**y` id** — `p/q.go:3` `(critical, gap)`",
                "C2",
                "Bold `xy` id",
                "p/q.go",
                Some(Severity::Critical),
                Some(Class::Gap),
                0,
            ),
            (
                "3. **Old style** — `x.vue:1, 5-6` [A, B, C]",
                "3",
                "Old style",
                "x.vue",
                None,
                None,
                3,
            ),
            (
                "**[CRITICAL] cmd/x.go:1-2 — Words behind**",
                "",
                "Words behind",
                "cmd/x.go",
                Some(Severity::Critical),
                None,
                0,
            ),
            (
                "1. **Tagged (suggestion, gap)** — `x.go:4` [Claude (as S5), Codex B]",
                "1",
                "Tagged",
                "x.go",
                Some(Severity::Suggestion),
                Some(Class::Gap),
                2,
            ),
            (
                "### Finding 2: No place yet",
                "2",
                "No place yet",
                "",
                None,
                None,
                0,
            ),
            (
                "S1. **Starred** — `a.rs:9` *(suggestion, enhancement)*",
                "S1",
                "Starred",
                "a.rs",
                Some(Severity::Suggestion),
                Some(Class::Enhancement),
                0,
            ),
            (
                "`I1.` **Id in backticks** — `a.rs:9` (important, regression)",
                "I1",
                "Id in backticks",
                "a.rs",
                Some(Severity::Important),
                Some(Class::Regression),
                0,
            ),
            (
                "`[S3]` **And brackets** — `a.rs:9`",
                "S3",
                "And brackets",
                "a.rs",
                None,
                None,
                0,
            ),
            (
                "**C5** — Title without bold — `a.rs:9`",
                "C5",
                "Title without bold",
                "a.rs",
                None,
                None,
                0,
            ),
            (
                "### I2: `d.rs:1` / `e.rs:9` — Two places",
                "I2",
                "Two places",
                "d.rs",
                None,
                None,
                0,
            ),
        ] {
            let found = headline(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found.id, id, "{line}");
            assert_eq!(found.title, title, "{line}");
            assert_eq!(
                found.locations.first().map_or("", |l| l.path.as_str()),
                path,
                "{line}"
            );
            assert_eq!(found.severity, severity_, "{line}");
            assert_eq!(found.class, class, "{line}");
            assert_eq!(found.reviewers.len(), reviewers, "{line}");
            assert_eq!(found.rest, "", "{line}");
        }
    }

    #[test]
    fn sentence_behind_bold_text_is_kept_as_rest() {
        let found = headline("1. **First**: the daemon starts and then it waits.").unwrap();
        assert_eq!(found.rest, "the daemon starts and then it waits.");
    }

    #[test]
    fn hostile_lines_do_not_panic() {
        for line in [
            "**",
            "****",
            "I1.",
            "1. **`** — `",
            "**[CRITICAL]**",
            "I1. **é** — `é:99999999999`",
            "### ",
        ] {
            let _ = headline(line);
        }
    }
}
