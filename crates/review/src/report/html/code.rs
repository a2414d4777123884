//! Code with line numbers and a little colour.
//!
//! The colouring knows comments, strings, numbers and the words that most languages share. It need not be right, only
//! calm; a wrong guess colours a word, no more.

use super::escape::escape;
use crate::model::Excerpt;

/// What starts a comment in a language, and which quotes make strings.
struct Syntax {
    line_comments: &'static [&'static str],
    block_comment: Option<(&'static str, &'static str)>,
    quotes: &'static [char],
}

fn syntax(language: &str) -> Option<Syntax> {
    let c_like = |quotes| {
        Some(Syntax {
            line_comments: &["//"],
            block_comment: Some(("/*", "*/")),
            quotes,
        })
    };
    match language.to_lowercase().as_str() {
        // A single quote may be a lifetime.
        "rs" | "rust" => c_like(&['"']),
        "go" | "js" | "jsx" | "javascript" | "mjs" | "cjs" | "ts" | "tsx" | "typescript"
        | "vue" => c_like(&['"', '\'', '`']),
        "c" | "h" | "cc" | "cpp" | "hpp" | "java" | "kt" | "swift" | "cs" | "php" | "proto" => {
            c_like(&['"', '\''])
        }
        "css" | "scss" => Some(Syntax {
            line_comments: &[],
            block_comment: Some(("/*", "*/")),
            quotes: &['"', '\''],
        }),
        "py" | "python" | "sh" | "bash" | "bats" | "zsh" | "rb" | "ruby" | "yaml" | "yml"
        | "toml" | "dockerfile" | "makefile" | "mk" | "ini" | "conf" | "ps1" | "console" => {
            Some(Syntax {
                line_comments: &["#"],
                block_comment: None,
                quotes: &['"', '\''],
            })
        }
        "json" => Some(Syntax {
            line_comments: &[],
            block_comment: None,
            quotes: &['"'],
        }),
        "sql" | "lua" => Some(Syntax {
            line_comments: &["--"],
            block_comment: None,
            quotes: &['"', '\''],
        }),
        _ => None,
    }
}

const KEYWORDS: &[&str] = &[
    "abstract",
    "and",
    "as",
    "async",
    "await",
    "bool",
    "break",
    "case",
    "catch",
    "chan",
    "class",
    "const",
    "continue",
    "crate",
    "def",
    "default",
    "defer",
    "delete",
    "do",
    "done",
    "elif",
    "else",
    "enum",
    "esac",
    "except",
    "export",
    "extends",
    "false",
    "False",
    "fi",
    "final",
    "finally",
    "fn",
    "for",
    "from",
    "func",
    "function",
    "go",
    "if",
    "impl",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "is",
    "lambda",
    "let",
    "local",
    "loop",
    "map",
    "match",
    "mod",
    "move",
    "mut",
    "namespace",
    "new",
    "nil",
    "None",
    "not",
    "null",
    "or",
    "package",
    "pass",
    "private",
    "protected",
    "pub",
    "public",
    "raise",
    "range",
    "ref",
    "return",
    "select",
    "self",
    "Self",
    "static",
    "struct",
    "super",
    "switch",
    "then",
    "this",
    "throw",
    "throws",
    "trait",
    "true",
    "True",
    "try",
    "type",
    "typeof",
    "undefined",
    "unsafe",
    "use",
    "var",
    "void",
    "where",
    "while",
    "with",
    "yield",
];

/// The language of a path: its suffix, or its name.
pub(super) fn language_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.')
        .map_or(name, |(_, suffix)| suffix)
        .to_lowercase()
}

/// Colours lines; what it makes is escaped.
fn colour(language: &str, lines: &[&str]) -> Vec<String> {
    let Some(syntax) = syntax(language) else {
        return lines.iter().map(|l| escape(l)).collect();
    };
    let mut in_block = false;
    lines
        .iter()
        .map(|line| colour_line(&syntax, line, &mut in_block))
        .collect()
}

fn span(class: &str, text: &str) -> String {
    format!("<span class=\"{class}\">{}</span>", escape(text))
}

fn colour_line(syntax: &Syntax, line: &str, in_block: &mut bool) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let (class, length) = if *in_block {
            let end = syntax
                .block_comment
                .and_then(|(_, e)| Some(rest.find(e)? + e.len()));
            *in_block = end.is_none();
            ("tc", end.unwrap_or(rest.len()))
        } else if syntax.line_comments.iter().any(|m| rest.starts_with(m))
            && starts_comment(&line[..line.len() - rest.len()], c)
        {
            ("tc", rest.len())
        } else if let Some((open, _)) = syntax.block_comment.filter(|(o, _)| rest.starts_with(o)) {
            *in_block = true;
            ("tc", open.len())
        } else if syntax.quotes.contains(&c) {
            ("ts", string_length(rest, c))
        } else if c.is_ascii_digit() {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
            ("tn", end.unwrap_or(rest.len()))
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let end = end.unwrap_or(rest.len());
            let class = if KEYWORDS.contains(&&rest[..end]) {
                "tk"
            } else {
                ""
            };
            (class, end)
        } else {
            ("", c.len_utf8())
        };
        let (token, after) = rest.split_at(length);
        if class.is_empty() {
            out.push_str(&escape(token));
        } else {
            out.push_str(&span(class, token));
        }
        rest = after;
    }
    out
}

/// `$#` and `a#b` of a shell are no comment; a `//` always is.
fn starts_comment(before: &str, mark: char) -> bool {
    mark != '#' || before.is_empty() || before.ends_with(char::is_whitespace)
}

fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// A block of code without numbers.
pub(super) fn code_block(language: &str, text: &str) -> String {
    let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
    format!(
        "<pre class=\"code\" tabindex=\"0\"><code>{}</code></pre>",
        colour(language, &lines).join("\n")
    )
}

/// A diff, its lines coloured by their first character.
pub(super) fn diff_block(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end_matches('\n')
        .lines()
        .map(|l| {
            let class = match l.chars().next() {
                _ if l.starts_with("+++") || l.starts_with("---") => "dh",
                Some('+') => "da",
                Some('-') => "dd",
                Some('@') => "dh",
                _ => "dc",
            };
            span(class, if l.is_empty() { " " } else { l })
        })
        .collect();
    format!(
        "<pre class=\"code diff\" tabindex=\"0\"><code>{}</code></pre>",
        lines.concat()
    )
}

/// Code with its numbers; the numbers are no text, so that copying takes the code alone.
fn numbered(language: &str, first: u32, focus: Option<(u32, u32)>, lines: &[&str]) -> String {
    let rows: Vec<String> = colour(language, lines)
        .into_iter()
        .zip(first..)
        .map(|(html, number)| {
            let hit = focus.is_some_and(|(from, to)| (from..=to).contains(&number));
            let class = if hit { "ln hit" } else { "ln" };
            let html = if html.is_empty() {
                " ".to_owned()
            } else {
                html
            };
            format!("<span class=\"{class}\" data-n=\"{number}\">{html}</span>")
        })
        .collect();
    format!(
        "<pre class=\"code numbered\" tabindex=\"0\"><code>{}</code></pre>",
        rows.concat()
    )
}

/// Code from the file, with the lines that a finding is about marked.
pub(super) fn excerpt(excerpt: &Excerpt) -> String {
    let lines: Vec<&str> = excerpt.lines.iter().map(String::as_str).collect();
    numbered(
        &language_of(&excerpt.path),
        excerpt.first,
        Some(excerpt.focus),
        &lines,
    )
}

/// Code as a reviewer quoted it, numbered when the place is known.
pub(super) fn quote(path: &str, first: Option<u32>, text: &str) -> String {
    let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
    match first {
        Some(first) => numbered(&language_of(path), first, None, &lines),
        None => code_block(&language_of(path), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_escapes() {
        assert_eq!(
            colour("rust", &["let a = \"<b>\"; // <i>", "/* x", "y */ fn"]),
            [
                "<span class=\"tk\">let</span> a = <span class=\"ts\">&quot;&lt;b&gt;&quot;</span>; <span class=\"tc\">// &lt;i&gt;</span>",
                "<span class=\"tc\">/*</span><span class=\"tc\"> x</span>",
                "<span class=\"tc\">y */</span> <span class=\"tk\">fn</span>",
            ]
        );
        assert_eq!(colour("unknown", &["<x>"]), ["&lt;x&gt;"]);
        assert_eq!(
            colour("sh", &["echo $# '"]),
            ["echo $# <span class=\"ts\">&#39;</span>"]
        );
    }

    #[test]
    fn keywords_are_in_order_once() {
        let mut sorted = KEYWORDS.to_vec();
        sorted.dedup();
        assert_eq!(sorted.len(), KEYWORDS.len());
    }
}
