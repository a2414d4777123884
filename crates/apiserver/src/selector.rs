//! Label and field selectors (`k8s.io/apimachinery/pkg/labels`, `pkg/fields`).

use crate::status::ApiError;

/// A conjunction of requirements on labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
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
            ApiError::bad_request(format!("unable to parse requirement: {why} in {text:?}"))
        };
        let tokens = tokens(text);
        let mut tokens = tokens.iter().peekable();
        let mut requirements = Vec::new();
        while let Some(token) = tokens.next() {
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

    /// Texts that stand in the JSON of every selected object: looking for them is much faster than decoding.
    pub(crate) fn needles(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|requirement| {
            let key = serde_json::Value::from(requirement.key.as_str());
            match &requirement.operator {
                Operator::In(values) => Some(match values.as_slice() {
                    [value] => format!("{key}:{}", serde_json::Value::from(value.as_str())),
                    _ => format!("{key}:"),
                }),
                Operator::Exists | Operator::GreaterThan(_) | Operator::LessThan(_) => {
                    Some(format!("{key}:"))
                }
                Operator::NotIn(_) | Operator::DoesNotExist => None,
            }
        })
    }

    /// Whether an object with these labels is selected.
    pub(crate) fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
                Operator::NotIn(values) => !value.is_some_and(|v| values.iter().any(|w| w == v)),
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
        Token::Mark("=" | "==") => Ok(Operator::In(vec![word(tokens)])),
        Token::Mark("!=") => Ok(Operator::NotIn(vec![word(tokens)])),
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
) -> Result<Vec<String>, ApiError> {
    if tokens.next() != Some(&Token::Mark("(")) {
        return Err(bad("expected '('"));
    }
    let mut values = Vec::new();
    loop {
        values.push(word(tokens));
        match tokens.next() {
            Some(Token::Mark(",")) => {}
            Some(Token::Mark(")")) => return Ok(values),
            _ => return Err(bad("expected ',' or ')'")),
        }
    }
}

/// A conjunction of `field=value` and `field!=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for term in text.split(',').filter(|t| !t.trim().is_empty()) {
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

    /// Whether an object with these fields is selected.
    pub(crate) fn matches(&self, field: impl Fn(&str) -> String) -> bool {
        let holds =
            |(name, equal, value): &(String, bool, String)| (field(name) == *value) == *equal;
        self.0.iter().all(holds)
    }

    /// The value that a field must have, when there is exactly one.
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
    fn label_selectors() {
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
