//! Our own JSON findings. docs/deep-review.md, "Findings as JSON", is the format; this reader is more tolerant than
//! it: models leave fields out, name them otherwise and wrap the object in prose.

use serde_json::{Map, Value};

use super::markdown;
use crate::model::{Class, Coverage, Evidence, Finding, Location, Note, Review, Scope, Severity};

/// Reads the JSON in a text.
pub(super) fn review(reviewer: &str, text: &str) -> Result<Review, String> {
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => inside(text).ok_or_else(|| error.to_string())?,
    };
    let mut review = Review {
        reviewer: reviewer.to_owned(),
        ..Review::default()
    };
    match &value {
        Value::Array(findings) => list(findings, &mut review),
        Value::Object(object) => whole(object, &mut review)?,
        _ => return Err("neither an object nor a list of findings".to_owned()),
    }
    review.says_none = review.findings.is_empty();
    Ok(review)
}

fn whole(object: &Map<String, Value>, review: &mut Review) -> Result<(), String> {
    match first(object, &["findings", "issues", "comments"]) {
        Some(Value::Array(findings)) => list(findings, review),
        // By severity: {"critical": [...], "important": [...]}.
        Some(Value::Object(groups)) => {
            for (name, findings) in groups {
                let severity = markdown::severity(name);
                for value in findings.as_array().into_iter().flatten() {
                    push(value, severity, review);
                }
            }
        }
        Some(_) => return Err("`findings` is no list".to_owned()),
        None if object.contains_key("title") || object.contains_key("message") => {
            push(&Value::Object(object.clone()), None, review);
        }
        None => return Err("there is no `findings` in the object".to_owned()),
    }
    review.summary =
        string(object, &["summary", "executive_summary", "overview"]).unwrap_or_default();
    review.strengths = notes(object, &["strengths"]);
    review.concerns = notes(
        object,
        &["concerns", "design_concerns", "design_observations"],
    );
    review.testing_gaps = notes(object, &["testing_gaps", "testing"]);
    review.documentation = notes(object, &["documentation"]);
    review.commit_structure = notes(object, &["commit_structure", "commits"]);
    review.acknowledged_limitations = notes(object, &["acknowledged_limitations"]);
    review.unresolved_feedback = notes(object, &["unresolved_feedback"]);
    review.coverage = coverage(object);
    Ok(())
}

/// The JSON object or list with findings inside prose or a fence.
pub(super) fn inside(text: &str) -> Option<Value> {
    // A parse that fails costs what it read, so only so many starts are tried.
    let mut tries = MOST_STARTS;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        if !line.trim_start().starts_with(['{', '[']) {
            continue;
        }
        if tries == 0 {
            return None;
        }
        tries -= 1;
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        if let Some(Ok(value)) = values.next()
            && holds_findings(&value)
        {
            return Some(value);
        }
    }
    None
}

/// How many lines that begin with a bracket are tried as the start of the JSON.
const MOST_STARTS: usize = 32;

fn holds_findings(value: &Value) -> bool {
    match value {
        Value::Object(object) => object
            .get("findings")
            .or_else(|| object.get("issues"))
            .is_some_and(|f| f.is_array() || f.is_object()),
        Value::Array(items) => items.first().and_then(Value::as_object).is_some_and(|o| {
            o.contains_key("title") && (o.contains_key("severity") || o.contains_key("file"))
        }),
        _ => false,
    }
}

fn list(findings: &[Value], review: &mut Review) {
    for value in findings {
        push(value, None, review);
    }
}

fn push(value: &Value, severity: Option<Severity>, review: &mut Review) {
    match finding(value, severity, review.findings.len() + 1) {
        Some(finding) => review.findings.push(finding),
        None => review.unparsed.push(value.to_string()),
    }
}

fn finding(value: &Value, severity: Option<Severity>, number: usize) -> Option<Finding> {
    let object = match value {
        Value::String(title) if !title.trim().is_empty() => {
            return Some(Finding::new(
                format!("#{number}"),
                severity.unwrap_or(Severity::Important),
                one_line(title),
            ));
        }
        Value::Object(object) => object,
        _ => return None,
    };
    let explanation = string(
        object,
        &[
            "explanation",
            "description",
            "body",
            "details",
            "message",
            "rationale",
        ],
    )
    .unwrap_or_default();
    let title = string(object, &["title", "summary", "name"])
        .or_else(|| explanation.lines().next().map(str::to_owned))
        .map(|t| one_line(&t))
        .filter(|t| !t.is_empty())?;
    let id = string(object, &["id", "number"]).unwrap_or_else(|| format!("#{number}"));
    let severity = string(object, &["severity", "level", "priority"])
        .and_then(|s| markdown::severity(&s))
        .or(severity)
        .unwrap_or(Severity::Important);
    let mut finding = Finding::new(id, severity, title);
    finding.explanation = explanation;
    finding.class = string(object, &["class", "kind", "type"]).and_then(|c| class(&c));
    finding.scope = string(object, &["scope"]).and_then(|s| scope(&s));
    finding.locations = locations(object);
    finding.quote = string(object, &["quote", "code", "snippet"]).filter(|q| !q.trim().is_empty());
    finding.fix = string(
        object,
        &["fix", "suggested_fix", "suggestion", "patch", "diff"],
    )
    .filter(|f| !f.trim().is_empty());
    finding.evidence = evidence(object);
    Some(finding)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn class(word: &str) -> Option<Class> {
    match word.to_lowercase().as_str() {
        "regression" => Some(Class::Regression),
        "gap" | "pre-existing" => Some(Class::Gap),
        "enhancement" => Some(Class::Enhancement),
        _ => None,
    }
}

fn scope(word: &str) -> Option<Scope> {
    match word.to_lowercase().as_str() {
        "in-scope" | "in scope" => Some(Scope::InScope),
        "future" | "out-of-scope" => Some(Scope::Future),
        _ => None,
    }
}

fn locations(object: &Map<String, Value>) -> Vec<Location> {
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

fn location(value: &Value) -> Option<Location> {
    match value {
        Value::String(text) if markdown::places(text).is_empty() => None,
        Value::String(text) => Some(written(text)),
        Value::Object(object) => {
            let path = string(object, &["path", "file", "filename", "file_path"])?;
            let written = written(&path);
            let number = |names: &[&str]| first(object, names).and_then(line);
            let lines = first(object, &["lines", "line_range"]).and_then(range);
            let start = number(&["start", "line", "start_line", "line_start"])
                .or(lines.map(|l| l.0))
                .or(written.start);
            let end = number(&["end", "end_line", "line_end"])
                .or(lines.and_then(|l| l.1))
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
fn written(text: &str) -> Location {
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

fn line(value: &Value) -> Option<u32> {
    let number = match value {
        Value::Number(n) => n.as_u64()?,
        Value::String(s) => s.trim().trim_start_matches('L').parse().ok()?,
        _ => return None,
    };
    u32::try_from(number).ok().filter(|n| *n > 0)
}

fn range(value: &Value) -> Option<(u32, Option<u32>)> {
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

fn evidence(object: &Map<String, Value>) -> Vec<Evidence> {
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

fn notes(object: &Map<String, Value>, names: &[&str]) -> Vec<Note> {
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

fn coverage(object: &Map<String, Value>) -> Vec<Coverage> {
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

fn first<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names
        .iter()
        .filter_map(|n| object.get(*n))
        .find(|v| !v.is_null())
}

fn string(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|n| match object.get(*n)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_format() {
        let review = review(
            "r",
            r#"{"version": 1, "summary": "Fine.", "findings": [{
                "id": "I1", "severity": "important", "class": "regression", "scope": "in-scope",
                "title": "Timer leaks", "locations": [{"path": "a/b.rs", "start": 3, "end": 5}, {"path": "c.rs"}],
                "quote": "let t = timer();", "explanation": "It leaks.", "fix": "-a\n+b",
                "evidence": [{"command": "cargo test", "output": "failed"}]}],
              "strengths": ["Small"], "concerns": [{"title": "Coupled", "text": "to much"}],
              "testing_gaps": ["No test"], "coverage": [{"path": "a/b.rs", "status": "I1"}]}"#,
        )
        .unwrap();
        let finding = &review.findings[0];
        assert_eq!(
            (finding.id.as_str(), finding.severity),
            ("I1", Severity::Important)
        );
        assert_eq!(finding.class, Some(Class::Regression));
        assert_eq!(finding.scope, Some(Scope::InScope));
        assert_eq!(finding.locations.len(), 2);
        assert_eq!(
            (finding.locations[0].start, finding.locations[0].end),
            (Some(3), Some(5))
        );
        assert_eq!(finding.evidence[0].output.as_deref(), Some("failed"));
        assert_eq!(review.concerns[0].text, "**Coupled** — to much");
        assert_eq!((review.coverage.len(), review.testing_gaps.len()), (1, 1));
    }

    #[test]
    fn a_path_may_have_blanks() {
        let review = review(
            "r",
            r#"[{"title": "A", "file": "a folder/ü b.py", "line": 3}, {"title": "B", "file": "a folder/b.py:4-6"},
                {"title": "C", "location": "a folder/b.py:7"}, {"title": "D", "location": "somewhere in the parser"}]"#,
        )
        .unwrap();
        let places: Vec<_> = review
            .findings
            .iter()
            .map(|f| {
                f.locations
                    .first()
                    .map(|l| (l.path.as_str(), l.start, l.end))
            })
            .collect();
        assert_eq!(
            places,
            [
                Some(("a folder/ü b.py", Some(3), None)),
                Some(("a folder/b.py", Some(4), Some(6))),
                Some(("a folder/b.py", Some(7), None)),
                None,
            ]
        );
    }

    #[test]
    fn what_models_write_instead() {
        for text in [
            r#"[{"title": "T", "severity": "HIGH", "file": "a.rs:7-9"}]"#,
            r#"{"findings": {"important": [{"name": "T", "path": "a.rs", "lines": "7-9"}]}}"#,
            r#"{"issues": [{"title": "T", "file": "./a.rs", "line": "7", "end_line": 9}]}"#,
            "Sure:\n\n```json\n{\"findings\": [{\"title\": \"T\", \"location\": \"a.rs:7-9\"}]}\n```\n\nAnything else?",
            r#"{"title": "T", "severity": "major", "file": "a.rs", "lines": [7, 9]}"#,
        ] {
            let review = review("r", text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let finding = &review.findings[0];
            assert_eq!(finding.title, "T", "{text}");
            assert_eq!(finding.severity, Severity::Important, "{text}");
            let place = &finding.locations[0];
            assert_eq!(
                (place.path.as_str(), place.start, place.end),
                ("a.rs", Some(7), Some(9)),
                "{text}"
            );
            assert_eq!(finding.locations.len(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_no_finding_is_kept() {
        let review = review(
            "r",
            r#"{"findings": [{"severity": "important"}, 5, {"title": "T"}]}"#,
        )
        .unwrap();
        assert_eq!((review.findings.len(), review.unparsed.len()), (1, 2));
    }
}
