//! Label and field selectors (`k8s.io/apimachinery/pkg/labels`, `pkg/fields`).
//!
//! A list tests every object of a collection, so the size of a selector multiplies with it and is limited.

use std::collections::BTreeSet;

use crate::status::{ApiError, text_start};

/// The longest selector in bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most requirements of a selector. `kubectl` and controllers use less than ten.
const MAX_REQUIREMENTS: usize = 100;
/// The most values of all sets of a selector together.
const MAX_VALUES: usize = 1000;

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Mark(&'static str),
}

const MARKS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            out.push(Token::Mark(mark));
            rest = &rest[mark.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
                .unwrap_or(rest.len());
            out.push(Token::Word(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    out
}

impl LabelSelector {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = |why: &str| {
            let shown = text_start(text);
            ApiError::bad_request(format!("unable to parse requirement: {why} in {shown:?}"))
        };
        if text.len() > MAX_TEXT {
            return Err(bad(&format!("longer than {MAX_TEXT} bytes")));
        }
        let tokens = tokens(text);
        let mut tokens = tokens.iter().peekable();
        let mut requirements: Vec<Requirement> = Vec::new();
        let mut values = 0;
        while let Some(token) = tokens.next() {
            if requirements.len() >= MAX_REQUIREMENTS {
                return Err(bad(&format!("more than {MAX_REQUIREMENTS} requirements")));
            }
            let requirement = match token {
                Token::Mark("!") => match tokens.next() {
                    Some(Token::Word(key)) => Requirement {
                        key: (*key).into(),
                        operator: Operator::DoesNotExist,
                    },
                    _ => return Err(bad("expected a key after '!'")),
                },
                Token::Word(key) => Requirement {
                    key: (*key).into(),
                    operator: operator(&mut tokens, &bad)?,
                },
                Token::Mark(mark) => return Err(bad(&format!("found '{mark}', expected a key"))),
            };
            if let Some(why) = crate::names::label_key_error(&requirement.key) {
                return Err(bad(&why));
            }
            values += match &requirement.operator {
                Operator::In(set) | Operator::NotIn(set) => set.len(),
                _ => 0,
            };
            if values > MAX_VALUES {
                return Err(bad(&format!("more than {MAX_VALUES} values")));
            }
            requirements.push(requirement);
            match tokens.next() {
                None => break,
                Some(Token::Mark(",")) => {}
                Some(_) => return Err(bad("expected ',' or the end")),
            }
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Texts that the JSON of every selected object contains. Searching for them is much faster than decoding.
    pub(crate) fn needles(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|requirement| {
            let key = serde_json::Value::from(requirement.key.as_str());
            match &requirement.operator {
                Operator::In(values) => Some(match values.first() {
                    Some(value) if values.len() == 1 => {
                        format!("{key}:{}", serde_json::Value::from(value.as_str()))
                    }
                    _ => format!("{key}:"),
                }),
                Operator::Exists | Operator::GreaterThan(_) | Operator::LessThan(_) => {
                    Some(format!("{key}:"))
                }
                Operator::NotIn(_) | Operator::DoesNotExist => None,
            }
        })
    }

    /// Whether an object is selected whose labels are returned by `label`.
    pub(crate) fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|v| values.contains(v)),
                Operator::NotIn(values) => !value.is_some_and(|v| values.contains(v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::GreaterThan(n) => number(value).is_some_and(|v| v > *n),
                Operator::LessThan(n) => number(value).is_some_and(|v| v < *n),
            }
        })
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

type Tokens<'a, 'b> = std::iter::Peekable<std::slice::Iter<'b, Token<'a>>>;

fn operator(
    tokens: &mut Tokens<'_, '_>,
    bad: &impl Fn(&str) -> ApiError,
) -> Result<Operator, ApiError> {
    let operator = match tokens.peek() {
        None | Some(Token::Mark(",")) => return Ok(Operator::Exists),
        Some(token) => {
            let token = (*token).clone();
            tokens.next();
            token
        }
    };
    match operator {
        // `key=` selects the empty value.
        Token::Mark("=" | "==") => Ok(Operator::In([word(tokens)].into())),
        Token::Mark("!=") => Ok(Operator::NotIn([word(tokens)].into())),
        Token::Mark(mark @ (">" | "<")) => {
            let n = word(tokens);
            let n = n.parse().map_err(|_| {
                bad(&format!(
                    "for '{mark}' the value must be an integer, not {n:?}"
                ))
            })?;
            Ok(if mark == ">" {
                Operator::GreaterThan(n)
            } else {
                Operator::LessThan(n)
            })
        }
        Token::Word("in") => Ok(Operator::In(set(tokens, bad)?)),
        Token::Word("notin") => Ok(Operator::NotIn(set(tokens, bad)?)),
        other => Err(bad(&format!("found {other:?}, expected an operator"))),
    }
}

fn word(tokens: &mut Tokens<'_, '_>) -> String {
    match tokens.peek() {
        Some(Token::Word(word)) => {
            tokens.next();
            (*word).into()
        }
        _ => String::new(),
    }
}

fn set(
    tokens: &mut Tokens<'_, '_>,
    bad: &impl Fn(&str) -> ApiError,
) -> Result<BTreeSet<String>, ApiError> {
    if tokens.next() != Some(&Token::Mark("(")) {
        return Err(bad("expected '('"));
    }
    let mut values = BTreeSet::new();
    loop {
        values.insert(word(tokens));
        match tokens.next() {
            Some(Token::Mark(",")) => {}
            Some(Token::Mark(")")) => return Ok(values),
            _ => return Err(bad("expected ',' or ')'")),
        }
    }
}

/// Requirements `field=value` and `field!=value`, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        if text.len() > MAX_TEXT {
            return Err(ApiError::bad_request(format!(
                "invalid field selector: longer than {MAX_TEXT} bytes"
            )));
        }
        let mut terms = Vec::new();
        for term in text.split(',').filter(|t| !t.trim().is_empty()) {
            if terms.len() >= MAX_REQUIREMENTS {
                return Err(ApiError::bad_request(format!(
                    "invalid field selector: more than {MAX_REQUIREMENTS} requirements"
                )));
            }
            let (field, equal, value) = if let Some((f, v)) = term.split_once("!=") {
                (f, false, v)
            } else if let Some((f, v)) = term.split_once("==") {
                (f, true, v)
            } else if let Some((f, v)) = term.split_once('=') {
                (f, true, v)
            } else {
                return Err(ApiError::bad_request(format!(
                    "invalid field selector {term:?}: expected field=value or field!=value"
                )));
            };
            let field = field.trim();
            if !known.contains(&field) {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {field}"
                )));
            }
            terms.push((field.into(), equal, value.trim().into()));
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object is selected whose fields are returned by `field`.
    pub(crate) fn matches(&self, field: impl Fn(&str) -> String) -> bool {
        let holds =
            |(name, equal, value): &(String, bool, String)| (field(name) == *value) == *equal;
        self.0.iter().all(holds)
    }

    /// The value that a field must have, if the selector names one.
    pub(crate) fn required(&self, name: &str) -> Option<&str> {
        let term = self
            .0
            .iter()
            .find(|(field, equal, _)| field == name && *equal);
        term.map(|(_, _, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_bounded_in_length_requirements_and_values() {
        let many = |count: usize| (0..count).map(|n| format!("k{n}")).collect::<Vec<_>>();
        for refused in [
            many(MAX_REQUIREMENTS + 1).join(","),
            format!("a in ({})", many(MAX_VALUES + 1).join(",")),
            "a".repeat(MAX_TEXT + 1),
            format!("a={}", "(".repeat(MAX_TEXT)),
        ] {
            let error = LabelSelector::parse(&refused).expect_err("refused");
            assert!(error.message.len() < 600, "{}", error.message.len());
        }
        let accepted = format!("a in ({})", many(MAX_VALUES).join(","));
        let selector = LabelSelector::parse(&accepted).expect("accepted");
        assert!(selector.matches(|_| Some("k7")) && !selector.matches(|_| Some("x")));

        let terms = vec!["metadata.name=a"; MAX_REQUIREMENTS + 1].join(",");
        assert!(FieldSelector::parse(&terms, &["metadata.name"]).is_err());
        let long = "x".repeat(MAX_TEXT + 1);
        assert!(FieldSelector::parse(&long, &["metadata.name"]).is_err());
    }

    #[test]
    fn label_selectors_select_by_each_operator() {
        let labels = [("a", "1"), ("env", "prod"), ("empty", "")];
        let label = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        for (selector, selected) in [
            ("", true),
            ("a", true),
            ("a=1", true),
            ("a==1,env=prod", true),
            ("a = 1 , env in (dev, prod)", true),
            ("env notin (dev,prod)", false),
            ("missing notin (x)", true),
            ("missing!=x", true),
            ("env!=prod", false),
            ("!missing", true),
            ("!a", false),
            ("empty=", true),
            ("empty in ()", true),
            ("a>0", true),
            ("a<1", false),
            ("env>0", false),
        ] {
            let parsed = LabelSelector::parse(selector).expect(selector);
            assert_eq!(parsed.matches(label), selected, "{selector}");
        }
        for wrong in [
            "=1", "a in b", "a in (b", "a b", "a>x", "!", "a=1 b=2", "-a=1",
        ] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }
}
