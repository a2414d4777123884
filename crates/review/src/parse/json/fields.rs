//! The fields of findings and notes in JSON, by the names that models give them.

use serde_json::{Map, Value};

use super::Context;
use crate::model::{Class, Coverage, Evidence, Finding, Location, Note, Scope, Severity};
use crate::parse::markdown;

/// Names of a finding's title.
pub(super) const TITLES: [&str; 9] = [
    "title", "headline", "issue", "summary", "name", "problem", "subject", "heading", "finding",
];

/// Names of a finding's explanation.
pub(super) const TEXTS: [&str; 7] = [
    "explanation",
    "description",
    "body",
    "details",
    "message",
    "rationale",
    "comment",
];

/// The severity that the name of a list names: `blockers`, `high`.
pub(super) fn severity_of_list(name: &str) -> Option<Severity> {
    markdown::severity(name).or_else(|| markdown::severity(name.strip_suffix('s')?))
}

/// The severity that an object names; words of other tools included.
pub(super) fn severity_of(object: &Map<String, Value>) -> Option<Severity> {
    let word = string(object, &["severity", "level", "priority", "impact"])?;
    markdown::leading_severity(&word).or_else(|| match word.to_lowercase().as_str() {
        "fatal" | "catastrophic" | "urgent" | "security" => Some(Severity::Critical),
        "error" => Some(Severity::Important),
        "note" | "style" | "hint" | "refactor" => Some(Severity::Suggestion),
        _ => None,
    })
}

pub(super) fn finding(
    object: &Map<String, Value>,
    context: &Context,
    number: usize,
) -> Option<Finding> {
    let explanation = string(object, &TEXTS).unwrap_or_default();
    let title = string(object, &TITLES)
        .or_else(|| explanation.lines().next().map(str::to_owned))
        .map(|t| one_line(&t))
        .filter(|t| !t.is_empty())?;
    let id = string(object, &["id", "number"]).unwrap_or_else(|| format!("#{number}"));
    // A comment on a pull request says it in its text: `[critical] …`.
    let severity = severity_of(object)
        .or_else(|| markdown::leading_severity(&title).filter(|_| title.starts_with(['[', '*'])))
        .or(context.severity)
        .unwrap_or(Severity::Important);
    let mut finding = Finding::new(id, severity, title);
    finding.explanation = explanation;
    finding.class = string(object, &["class", "kind", "type"]).and_then(|c| class(&c));
    finding.scope = string(object, &["scope"]).and_then(|s| scope(&s));
    finding.locations = locations(object);
    if let (Some(path), true) = (&context.path, finding.locations.is_empty()) {
        let mut inside = object.clone();
        inside.insert("path".to_owned(), Value::String(path.clone()));
        finding.locations = locations(&inside);
    }
    finding.quote = string(object, &["quote", "code", "snippet"]).filter(|q| !q.trim().is_empty());
    finding.fix = string(
        object,
        &["fix", "suggested_fix", "suggestion", "patch", "diff"],
    )
    .filter(|f| !f.trim().is_empty());
    finding.evidence = evidence(object);
    Some(finding)
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn class(word: &str) -> Option<Class> {
    match word.to_lowercase().as_str() {
        "regression" => Some(Class::Regression),
        "gap" | "pre-existing" => Some(Class::Gap),
        "enhancement" => Some(Class::Enhancement),
        _ => None,
    }
}

pub(super) fn scope(word: &str) -> Option<Scope> {
    match word.to_lowercase().as_str() {
        "in-scope" | "in scope" => Some(Scope::InScope),
        "future" | "out-of-scope" => Some(Scope::Future),
        _ => None,
    }
}

pub(super) fn locations(object: &Map<String, Value>) -> Vec<Location> {
    let mut result = Vec::new();
    match first(object, &["locations", "location", "places"]) {
        Some(Value::Array(places)) => result.extend(places.iter().filter_map(location)),
        Some(place) => result.extend(location(place)),
        None => {}
    }
    result.extend(location(&Value::Object(object.clone())));
    result.dedup();
    result
}

pub(super) fn location(value: &Value) -> Option<Location> {
    match value {
        Value::String(text) if markdown::places(text).is_empty() => None,
        Value::String(text) => Some(written(text)),
        Value::Object(object) => {
            let path = string(
                object,
                &["path", "file", "filename", "file_path", "filepath"],
            )?;
            let written = written(&path);
            let number = |names: &[&str]| first(object, names).and_then(line);
            let lines = first(object, &["lines", "line_range"]).and_then(range);
            let start = number(&[
                "start",
                "start_line",
                "line_start",
                "startLine",
                "line",
                "line_number",
                "lineNumber",
                "original_line",
            ])
            .or(lines.map(|l| l.0))
            .or(written.start);
            let end = number(&["end", "end_line", "line_end", "endLine"])
                .or(lines.and_then(|l| l.1))
                // GitHub's comments have `start_line` and, as the last one, `line`.
                .or_else(|| number(&["line"]).filter(|_| object.contains_key("start_line")))
                .or(written.end);
            let path = written.path;
            (!path.trim().is_empty()).then_some(Location {
                path,
                start,
                end: end.filter(|e| start.is_some_and(|s| *e > s)),
            })
        }
        _ => None,
    }
}

/// A path as it is, blanks and all, with the lines that may stand behind it: `a folder/b.rs:3-5`.
pub(super) fn written(text: &str) -> Location {
    if !text.trim().contains(char::is_whitespace)
        && let Some(place) = markdown::places(text).into_iter().next()
    {
        return place;
    }
    let whole = || Location {
        path: text.trim().trim_start_matches("./").to_owned(),
        start: None,
        end: None,
    };
    let Some((path, lines)) = text.rsplit_once([':', '#']) else {
        return whole();
    };
    match range(&Value::String(lines.trim().to_owned())) {
        Some((start, end)) => Location {
            path: path.trim().trim_start_matches("./").to_owned(),
            start: Some(start),
            end,
        },
        None => whole(),
    }
}

pub(super) fn line(value: &Value) -> Option<u32> {
    let number = match value {
        Value::Number(n) => n.as_u64()?,
        Value::String(s) => s.trim().trim_start_matches('L').parse().ok()?,
        _ => return None,
    };
    u32::try_from(number).ok().filter(|n| *n > 0)
}

pub(super) fn range(value: &Value) -> Option<(u32, Option<u32>)> {
    match value {
        Value::Array(ends) => Some((line(ends.first()?)?, ends.get(1).and_then(line))),
        Value::String(text) => {
            let (start, end) = text.split_once(['-', '–']).unwrap_or((text, ""));
            let number = |t: &str| line(&Value::String(t.to_owned()));
            Some((number(start)?, number(end)))
        }
        other => Some((line(other)?, None)),
    }
}

pub(super) fn evidence(object: &Map<String, Value>) -> Vec<Evidence> {
    let one = |value: &Value| match value {
        Value::String(command) if !command.trim().is_empty() => Some(Evidence {
            command: command.clone(),
            output: None,
        }),
        Value::Object(object) => Some(Evidence {
            command: string(object, &["command", "cmd"])?,
            output: string(object, &["output", "stdout", "result"]),
        }),
        _ => None,
    };
    match first(object, &["evidence", "repro", "reproduction"]) {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

pub(super) fn notes(object: &Map<String, Value>, names: &[&str]) -> Vec<Note> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => {
            let title = string(object, &["title"]);
            let text = string(object, &["text", "description", "explanation", "note"]);
            match (title, text) {
                (Some(title), Some(text)) => Some(format!("**{title}** — {text}")),
                (title, text) => title.or(text),
            }
        }
        _ => None,
    };
    let texts: Vec<String> = match first(object, names) {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    };
    texts
        .into_iter()
        .filter(|t| !t.trim().is_empty())
        .map(|text| Note {
            text,
            reviewers: Vec::new(),
        })
        .collect()
}

pub(super) fn coverage(object: &Map<String, Value>) -> Vec<Coverage> {
    match first(object, &["coverage", "files"]) {
        // {"a.rs": "reviewed"}
        Some(Value::Object(files)) => files
            .iter()
            .map(|(path, status)| Coverage {
                path: path.clone(),
                status: status.as_str().unwrap_or("").to_owned(),
            })
            .collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| match item {
                Value::String(path) => Some(Coverage {
                    path: path.clone(),
                    status: String::new(),
                }),
                Value::Object(object) => Some(Coverage {
                    path: string(object, &["path", "file"])?,
                    status: string(object, &["status", "result"]).unwrap_or_default(),
                }),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn first<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names
        .iter()
        .filter_map(|n| object.get(*n))
        .find(|v| !v.is_null())
}

pub(super) fn string(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|n| match object.get(*n)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}
