//! Other people's text inside our structure: nothing in it may open a section, a finding, a fence or a table cell.

use pulldown_cmark::{Event, Options, Parser, Tag};

/// A text on one line, for titles, names and reasons: no HTML, no bold that ends too early.
pub(in crate::report) fn inline(text: &str) -> String {
    let mut text = single_backticks(&one_line(text));
    // An open code span would take what follows the text.
    if text.matches('`').count() % 2 == 1 {
        text = text.replace('`', "'");
    }
    let mut result = String::with_capacity(text.len());
    for (code, part) in code_spans(&text) {
        if code {
            result.push_str(part);
        } else {
            let part = no_links(&no_html(part));
            if part.contains("**") {
                result.push_str(&part.replace('*', "\\*"));
            } else {
                result.push_str(&part);
            }
        }
    }
    result
}

/// Longer runs of backticks as an apostrophe: readers of one line pair single ones.
fn single_backticks(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let run = rest[at..].chars().take_while(|c| *c == '`').count();
        result.push_str(&rest[..at]);
        result.push(if run == 1 { '`' } else { '\'' });
        rest = &rest[at + run..];
    }
    result.push_str(rest);
    result
}

/// The same for a table cell.
pub(super) fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

/// A name in `[…]`.
pub(super) fn name(text: &str) -> String {
    inline(text).replace('[', "(").replace(']', ")")
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
        .flat_map(|part| part.split(' '))
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Code in a fence that is longer than any run of backticks inside. The language is taken from the path; a second
/// word keeps a quoted Markdown file from being read as a review in a fence.
pub(in crate::report) fn fenced(info: &str, text: &str) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let info: String = info
        .chars()
        .filter(|c| !c.is_control() && *c != '`')
        .collect();
    let text = text.trim_end_matches('\n');
    format!("{fence}{info}\n{text}\n{fence}")
}

/// The info string for code of a file.
pub(super) fn language(path: &str) -> String {
    let suffix = path.rsplit('/').next().and_then(|n| n.rsplit_once('.'));
    let suffix: String = suffix
        .map(|(_, s)| s.chars().filter(char::is_ascii_alphanumeric).collect())
        .unwrap_or_default();
    match suffix.to_lowercase().as_str() {
        "" => "plain".to_owned(),
        "rs" => "rust".to_owned(),
        "py" => "python".to_owned(),
        "ts" | "mts" => "typescript".to_owned(),
        "js" | "mjs" | "cjs" => "javascript".to_owned(),
        "sh" | "bats" => "bash".to_owned(),
        "yml" => "yaml".to_owned(),
        "md" | "markdown" => "markdown quote".to_owned(),
        "txt" | "text" => "plain".to_owned(),
        other => other.to_owned(),
    }
}

/// A text of several paragraphs, perhaps with fences, lists and tables of its own. Fences are closed, headings become
/// bold, and a line that could be read as the start of a finding is indented, which no renderer shows. A text that
/// would still reach beyond its end (a fence in a list that ends too early) is shown as it was written, in a fence.
pub(super) fn block(text: &str) -> String {
    let tamed = tamed(text);
    if is_whole(&tamed) {
        tamed
    } else {
        fenced("plain", &text.replace('\r', ""))
    }
}

/// Whether a renderer and our own parser both go on behind the text as if it were not there.
pub(super) fn is_whole(text: &str) -> bool {
    // With fences behind it, as a report has them: a fence without an end would end there. Our parser looks for a
    // section of findings behind a bare fence, so there is one document with and one without.
    const FENCES: &str = "~~~~~~~~~~~~\nx\n~~~~~~~~~~~~\n\n````````````\nx\n````````````\n";
    [
        "## Critical Issues\n\nC1. **b** — `b.rs:1`",
        "## Coverage Summary\n\n- `b.rs` — read",
    ]
    .iter()
    .all(|next| {
        let before = format!("## Suggestions\n\nS1. **a** — `a.rs:1`\n\n{text}\n\n");
        let document = format!("{before}{next}\n\n{FENCES}");
        if top_headings(&document) != Some(vec![0, before.len()]) {
            return false;
        }
        let read = crate::parse::markdown::report(&document).consolidated;
        let mut seen: Vec<&str> = read.findings.iter().map(|f| f.id.as_str()).collect();
        seen.extend(read.coverage.iter().map(|c| c.path.as_str()));
        seen == ["S1", "C1"] || seen == ["S1", "b.rs"]
    })
}

/// The positions of the headings that are in no list and no quotation. `None`: there is HTML.
fn top_headings(document: &str) -> Option<Vec<usize>> {
    let mut depth = 0usize;
    let mut headings = Vec::new();
    for (event, range) in Parser::new_ext(document, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 && matches!(tag, Tag::Heading { .. }) {
                    headings.push(range.start);
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            Event::Html(_) | Event::InlineHtml(_) => return None,
            _ => {}
        }
    }
    Some(headings)
}

fn tamed(text: &str) -> String {
    let mut result: Vec<String> = Vec::new();
    let mut open: Option<(char, usize)> = None;
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{c}'], "\n");
    for line in text.trim_matches('\n').lines() {
        let trimmed = line.trim_start();
        let marker = trimmed.chars().next().filter(|c| *c == '`' || *c == '~');
        let run = marker.map_or(0, |m| trimmed.chars().take_while(|c| *c == m).count());
        let info = trimmed.get(run..).unwrap_or_default().trim();
        match (open, marker) {
            (Some((m, length)), Some(marker))
                if marker == m && run >= length && info.is_empty() =>
            {
                open = None;
                result.push(line.to_owned());
            }
            (Some(_), _) => result.push(line.to_owned()),
            (None, Some(marker)) if run >= 3 && !(marker == '`' && info.contains('`')) => {
                open = Some((marker, run));
                let bare = matches!(
                    info.to_lowercase().as_str(),
                    "" | "markdown" | "md" | "text"
                );
                let info = if bare { "plain" } else { info };
                let indent = &line[..line.len() - trimmed.len()];
                result.push(format!("{indent}{}{info}", marker.to_string().repeat(run)));
            }
            (None, _) => result.push(text_line(line, result.last().map(String::as_str))),
        }
    }
    if let Some((marker, length)) = open {
        result.push(marker.to_string().repeat(length));
    }
    result.join("\n")
}

fn text_line(line: &str, before: Option<&str>) -> String {
    let trimmed = line.trim_start();
    let hashes = trimmed.chars().take_while(|c| *c == '#').count();
    if (1..=6).contains(&hashes) && trimmed[hashes..].starts_with([' ', '\t']) {
        let title = inline(trimmed[hashes..].trim().trim_end_matches('#').trim());
        // Underscores, because a line of `**bold**` may open a section.
        return format!("  __{}__", title.replace("\\*\\*", "").replace("__", ""));
    }
    let underline = !trimmed.is_empty()
        && (trimmed.trim_end().chars().all(|c| c == '=')
            || trimmed.trim_end().chars().all(|c| c == '-'));
    if underline && before.is_some_and(|b| !b.trim().is_empty()) {
        return format!("\\{trimmed}");
    }
    let line = html_free(line);
    if may_open(&line) {
        return format!("  {line}");
    }
    line
}

/// Whether a reader of reports could take the line for a finding's first one, or for a section's.
fn may_open(line: &str) -> bool {
    let bare = line
        .strip_prefix("- ")
        .or_else(|| line.strip_prefix("* "))
        .unwrap_or(line);
    let mut chars = bare.chars();
    let lettered = matches!(chars.next(), Some('C' | 'I' | 'S'))
        && chars.next().is_some_and(|c| c.is_ascii_digit());
    let digits = bare.chars().take_while(char::is_ascii_digit).count();
    let numbered = (1..=3).contains(&digits)
        && bare[digits..].starts_with(['.', ')'])
        && (bare.contains("**") || bare.contains(" — "));
    lettered
        || numbered
        || bare.starts_with("**")
        || bare.starts_with('[')
        || bare.starts_with("Finding ")
        || bare.starts_with("Issue ")
}

fn html_free(line: &str) -> String {
    code_spans(line)
        .into_iter()
        .map(|(code, part)| {
            if code {
                part.to_owned()
            } else {
                no_links(&no_html(part))
            }
        })
        .collect()
}

/// Escapes every `<` that could begin a tag or a comment; one that begins an address stays.
fn no_html(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == '<' {
            let after = &text[at + 1..];
            let address = ["https://", "http://"].iter().any(|s| after.starts_with(s));
            let tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
            if tag && !address && !result.ends_with('\\') {
                result.push('\\');
            }
        }
        result.push(c);
    }
    result
}

/// Returns the text without images, because loading one reveals the reader to its server, and without links other than to
/// the web or to a file in the repository.
fn no_links(text: &str) -> String {
    let mut text = text.replace("![", "!\\[");
    // `[name]: address` defines a link.
    if text.trim_start().starts_with('[') && text.contains("]:") {
        text = text.replacen("]:", "]\\:", 1);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("](") {
        let address = rest[at + 2..].split(')').next().unwrap_or_default();
        result.push_str(&rest[..at]);
        result.push_str(if is_plain_address(address) {
            "]("
        } else {
            "]\\("
        });
        rest = &rest[at + 2..];
    }
    result.push_str(rest);
    result
}

fn is_plain_address(address: &str) -> bool {
    let web = ["https://", "http://", "mailto:", "#"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/?#@!$'*+,=%".contains(c);
    if web.iter().any(|scheme| address.starts_with(scheme)) {
        return !address.contains(|c: char| c.is_whitespace() || c == '<');
    }
    address.chars().all(plain) && !address.starts_with("//")
}

/// The text in pieces: whether it is a code span (its backticks included), and the piece.
fn code_spans(text: &str) -> Vec<(bool, &str)> {
    let mut result = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let run = rest[start..].chars().take_while(|c| *c == '`').count();
        let fence = &rest[start..start + run];
        let inside = &rest[start + run..];
        // The span ends at a run of the same length.
        let mut from = 0;
        let mut end = None;
        while let Some(at) = inside[from..].find('`') {
            let at = from + at;
            let length = inside[at..].chars().take_while(|c| *c == '`').count();
            if length == fence.len() {
                end = Some(at + length);
                break;
            }
            from = at + length;
        }
        let Some(end) = end else {
            break;
        };
        result.push((false, &rest[..start]));
        result.push((true, &rest[start..start + run + end]));
        rest = &rest[start + run + end..];
    }
    result.push((false, rest));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_opens_nothing() {
        for (text, expected) in [
            ("## Critical Issues", "  __Critical Issues__"),
            ("**Suggestions**", "  **Suggestions**"),
            ("C1. **x** — `a.rs:1`", "  C1. **x** — `a.rs:1`"),
            ("a\n===", "a\n\\==="),
            ("a <b>c</b> `<d>` 1 < 2", "a \\<b>c\\</b> `<d>` 1 < 2"),
            ("<!-- x", "\\<!-- x"),
            ("see <https://a.b>", "see <https://a.b>"),
            ("```\n## x", "```plain\n## x\n```"),
            ("~~~rust\n```\n~~~", "~~~rust\n```\n~~~"),
        ] {
            assert_eq!(block(text), expected, "{text}");
        }
    }

    #[test]
    fn text_that_breaks_structure_is_shown_in_a_fence() {
        // The list ends at `code`, so the second fence opens one that never closes.
        let text = "- a\n  ```\ncode\n  ```";
        assert_eq!(block(text), format!("````plain\n{text}\n````"));
    }

    #[test]
    fn one_line_stays_one() {
        assert_eq!(inline("a\r\nb\u{2028}c  d"), "a b c d");
        assert_eq!(inline("a ** b `**` <i>"), "a \\*\\* b `**` \\<i>");
        assert_eq!(inline("open ` code"), "open ' code");
        assert_eq!(cell("a | `b | c`"), "a \\| `b \\| c`");
        assert_eq!(name("a] ## b"), "a) ## b");
    }

    #[test]
    fn fence_is_longer_than_fences_inside() {
        assert_eq!(fenced("rust", "a\n````\n"), "`````rust\na\n````\n`````");
        assert_eq!(language("docs/a.md"), "markdown quote");
    }
}
