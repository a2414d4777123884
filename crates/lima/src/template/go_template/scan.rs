//! Cuts a text into plain text and the tokens of actions.

use super::ExpandError;

/// The longest action. It bounds what is looked at behind each `{{`, so that a scan is linear in the text.
const ACTION_LIMIT: usize = 1024;

/// What begins, divides or ends a block. An action that begins with one of these is never left to other programs alone.
const CONTROL: [&str; 10] = [
    "if", "with", "range", "else", "end", "define", "block", "template", "break", "continue",
];

#[cfg(test)]
thread_local! {
    /// The bytes that scans have looked at, for the test of linearity.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A token of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A keyword or a function.
    Word(&'t str),
    /// `.a.b`, without the leading dot; `.` alone is empty.
    Field(&'t str),
    /// `$a`, with the fields behind it: (`a`, `b.c`). `$` alone has an empty name.
    Variable(&'t str, &'t str),
    Text(String),
    Number(i64),
    Open,
    Close,
    Pipe,
    Comma,
    /// `:=` or `=`.
    Assign,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Action(Action<'t>),
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action<'t> {
    /// The action as written, braces included.
    pub(super) source: &'t str,
    /// Where `source` begins in the text.
    pub(super) start: usize,
    pub(super) tokens: Vec<Token<'t>>,
    /// `{{- `: white space before the action goes.
    pub(super) trim_left: bool,
    /// ` -}}`: white space behind the action goes.
    pub(super) trim_right: bool,
}

impl Action<'_> {
    /// The keyword that the action begins with.
    pub(super) fn control(&self) -> Option<&str> {
        match self.tokens.first() {
            Some(Token::Word(word)) => CONTROL.iter().find(|known| *known == word).copied(),
            _ => None,
        }
    }
}

/// Cuts a text. Braces that begin no action are plain text.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, ExpandError> {
    let mut pieces = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while let Some(found) = text[at..].find("{{") {
        let start = at + found;
        looked_at(found + 2);
        match action(text, start) {
            Some(action) => {
                if plain < start {
                    pieces.push(Piece::Text(&text[plain..start]));
                }
                at = start + action.source.len();
                plain = at;
                pieces.push(Piece::Action(action));
            }
            None => {
                if let Some(word) = control_word(&text[start + 2..]) {
                    let line = text[start..].lines().next().unwrap_or_default();
                    let end = line.find("}}").map_or(line.len(), |at| at + 2);
                    let line = &line[..end];
                    return Err(ExpandError::action(
                        line,
                        format!("cannot read this {word}"),
                    ));
                }
                // Another action may begin inside.
                at = start + 2;
            }
        }
    }
    if plain < text.len() {
        pieces.push(Piece::Text(&text[plain..]));
    }
    Ok(pieces)
}

fn looked_at(_bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.with(|count| count.set(count.get() + _bytes));
}

/// The keyword behind an opening pair of braces.
fn control_word(inner: &str) -> Option<&'static str> {
    let inner = inner
        .strip_prefix("- ")
        .unwrap_or(inner)
        .trim_start_matches([' ', '\t']);
    let end = inner
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(inner.len());
    let word = &inner[..end];
    // A word that goes on in another way (`end_date`, `if-x`) is none of the keywords.
    let ends =
        !inner[end..].starts_with(['_', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    CONTROL.into_iter().find(|known| ends && *known == word)
}

/// Reads the action that begins at `start`; `None` when it is not one.
fn action(text: &str, start: usize) -> Option<Action<'_>> {
    let mut end = (start + ACTION_LIMIT).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let window = &text[start..end];
    let mut cursor = Cursor { window, at: 2 };
    let trim_left = cursor.take("-") && cursor.peek().is_some_and(char::is_whitespace);
    let mut tokens = Vec::new();
    let result = loop {
        let space = cursor.skip_space();
        if space && cursor.rest().starts_with("-}}") {
            cursor.at += 3;
            break Some(true);
        }
        if cursor.take("}}") {
            break Some(false);
        }
        if tokens.is_empty() && cursor.take("/*") {
            match cursor.rest().find("*/") {
                Some(length) => cursor.at += length + 2,
                None => {
                    cursor.at = window.len();
                    break None;
                }
            }
            let _ = cursor.skip_space();
            break if cursor.take("-}}") {
                Some(true)
            } else if cursor.take("}}") {
                Some(false)
            } else {
                None
            };
        }
        match cursor.token() {
            Some(token) => tokens.push(token),
            None => break None,
        }
    };
    looked_at(cursor.at);
    let trim_right = result?;
    // `{{-x}}` is a syntax error of Go's.
    if window.as_bytes().get(2) == Some(&b'-') && !trim_left {
        return None;
    }
    Some(Action {
        source: &window[..cursor.at],
        start,
        tokens,
        trim_left,
        trim_right,
    })
}

struct Cursor<'t> {
    window: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        &self.window[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start().len();
        self.at += length;
        length > 0
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// `a.b.c`, as far as it goes.
    fn fields(&mut self) -> &'t str {
        let start = self.at;
        let _ = self.word();
        while self.rest().starts_with('.') {
            self.at += 1;
            let _ = self.word();
        }
        &self.window[start..self.at]
    }

    fn token(&mut self) -> Option<Token<'t>> {
        let first = self.peek()?;
        let simple = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '|' => Some(Token::Pipe),
            ',' => Some(Token::Comma),
            '=' => Some(Token::Assign),
            _ => None,
        };
        if let Some(token) = simple {
            self.at += 1;
            return Some(token);
        }
        match first {
            ':' => self.take(":=").then_some(Token::Assign),
            '.' => {
                self.at += 1;
                Some(Token::Field(self.fields()))
            }
            '$' => {
                self.at += 1;
                let name = self.word();
                let fields = if self.take(".") { self.fields() } else { "" };
                Some(Token::Variable(name, fields))
            }
            '"' => self.quoted(),
            '`' => {
                let rest = &self.rest()[1..];
                let length = rest.find('`');
                self.at += 1 + length.map_or(rest.len(), |length| length + 1);
                length.map(|length| Token::Text(rest[..length].to_owned()))
            }
            '-' | '+' | '0'..='9' => {
                let rest = self.rest();
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && !"-+.".contains(c))
                    .unwrap_or(rest.len());
                self.at += end;
                rest[..end].parse().ok().map(Token::Number)
            }
            c if c.is_alphabetic() || c == '_' => {
                let word = self.word();
                // `a.b` and `a-b` are names of other languages.
                let ends = self.peek().is_none_or(|next| {
                    next.is_whitespace() || matches!(next, '}' | ')' | '|' | '(')
                });
                ends.then_some(Token::Word(word))
            }
            _ => None,
        }
    }

    /// A string in double quotes, with Go's escapes that scripts use.
    fn quoted(&mut self) -> Option<Token<'t>> {
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Some(Token::Text(out));
                }
                '\\' => match chars.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    c @ ('"' | '\\' | '\'') => out.push(c),
                    _ => return None,
                },
                '\n' => break,
                c => out.push(c),
            }
        }
        None
    }
}
