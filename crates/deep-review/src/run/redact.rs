//! Redacts tokens from everything that a reviewer prints, before it reaches logs, state or reports.

use regex::Regex;

/// The replacement of a token.
pub const REDACTED: &str = "[redacted]";

/// The shortest value that is redacted: a shorter one is a word, whose redaction would garble the review.
const SHORTEST: usize = 8;

/// Patterns of the tokens of well-known services, for tokens that are in no environment variable.
const SHAPES: &[&str] = &[
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    r"\bgithub_pat_[A-Za-z0-9_]{30,}",
    r"\bglpat-[A-Za-z0-9_-]{18,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\bAKIA[A-Z0-9]{16}\b",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*",
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
];

/// Removes secrets from text.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    values: Vec<String>,
    shapes: Vec<Regex>,
}

impl Redactor {
    /// Creates a redactor of the values of variables that look like secrets, by name or by an address with a password,
    /// and of the variables named in `also`.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, also: &[String]) -> Self {
        let mut values: Vec<String> = variables
            .into_iter()
            .filter(|(name, value)| is_secret(name, value) || also.contains(name))
            .map(|(_, value)| value.trim().to_owned())
            .filter(|value| value.len() >= SHORTEST)
            .flat_map(|value| {
                // Also as JSON escapes the value.
                let quoted = serde_json::Value::from(value.as_str()).to_string();
                [quoted.trim_matches('"').to_owned(), value]
            })
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Redactor {
            values,
            shapes: SHAPES
                .iter()
                .filter_map(|shape| Regex::new(shape).ok())
                .collect(),
        }
    }

    /// Returns the text without tokens.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), REDACTED);
            }
        }
        for shape in &self.shapes {
            if shape.is_match(&text) {
                text = shape.replace_all(&text, REDACTED).into_owned();
            }
        }
        text
    }
}

fn is_secret(name: &str, value: &str) -> bool {
    const SIGNS: &[&str] = &[
        "KEY",
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "AUTH",
    ];
    let name = name.to_uppercase();
    let by_name = SIGNS.iter().any(|sign| name.contains(sign));
    // Paths, as of an agent's socket, are not secrets, and messages need them.
    let is_path = value.starts_with('/');
    let by_value = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/')
            .next()
            .is_some_and(|host| host.contains('@'))
    });
    (by_name && !is_path) || by_value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_redacted_and_words_are_kept() {
        let variables = [
            ("ANTHROPIC_API_KEY", "very-secret\"value"),
            ("SSH_AUTH_SOCK", "/tmp/agent.sock"),
            ("SHORT_TOKEN", "abc"),
            ("LANG", "en_US.UTF-8"),
            ("https_proxy", "http://u:p@proxy:1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let redactor = Redactor::new(variables, &[]);
        for (text, clean) in [
            ("a very-secret\"value b", "a [redacted] b"),
            (r#"{"x":"very-secret\"value"}"#, r#"{"x":"[redacted]"}"#),
            (
                "/tmp/agent.sock abc en_US.UTF-8",
                "/tmp/agent.sock abc en_US.UTF-8",
            ),
            ("via http://u:p@proxy:1", "via [redacted]"),
            ("ghp_0123456789012345678901234567890123456789", "[redacted]"),
        ] {
            assert_eq!(redactor.clean(text), clean);
        }
    }
}
