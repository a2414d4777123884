//! Our own JSON findings. docs/deep-review.md, "Findings as JSON", is the format; this reader is more
//! tolerant, because models omit fields, rename them and wrap the object in prose.

mod fields;

use serde_json::{Map, Value};

use super::markdown;
use crate::model::{Finding, Review, Severity};
use fields::{
    TEXTS, TITLES, coverage, finding, notes, one_line, severity_of, severity_of_list, string,
    written,
};

/// Names of lists of findings.
const LISTS: [&str; 12] = [
    "findings",
    "issues",
    "comments",
    "bugs",
    "problems",
    "defects",
    "vulnerabilities",
    "errors",
    "warnings",
    "results",
    "suggestions",
    "annotations",
];

/// Names of fields of a review that contain no findings.
const NOTES: [&str; 19] = [
    "summary",
    "executive_summary",
    "overview",
    "strengths",
    "concerns",
    "design_concerns",
    "design_observations",
    "testing_gaps",
    "testing",
    "documentation",
    "commit_structure",
    "commits",
    "acknowledged_limitations",
    "unresolved_feedback",
    "coverage",
    "files_reviewed",
    "metadata",
    "stats",
    "usage",
];

/// How deep lists and objects are searched for findings.
const DEEPEST: usize = 8;

/// The bytes of JSON that could not be read that the report shows.
const UNREAD: usize = 4_000;

/// Reads JSON of any shape. A value without a readable finding goes to `unparsed`, unless it is an empty list of
/// findings.
pub(super) fn review(reviewer: &str, value: &Value) -> Review {
    let mut review = Review {
        reviewer: reviewer.to_owned(),
        ..Review::default()
    };
    let mut empty_list = false;
    match value {
        Value::Object(object) if !(is_finding(object) && lists(object).next().is_none()) => {
            for (name, child) in object {
                let named = name.to_lowercase();
                let notes = NOTES.contains(&named.as_str());
                if notes || named == "files" && !holds_findings(child) {
                    continue;
                }
                let listed = LISTS.contains(&named.as_str()) || severity_of_list(&named).is_some();
                empty_list |= listed && is_empty(child);
                read(child, &context(name, object, listed), DEEPEST, &mut review);
            }
            texts(object, &mut review);
        }
        Value::Array(items) => {
            empty_list = items.is_empty();
            read(
                value,
                &Context {
                    listed: true,
                    ..Context::default()
                },
                DEEPEST,
                &mut review,
            );
        }
        other => read(other, &Context::default(), DEEPEST, &mut review),
    }
    if review.findings.is_empty() && review.unparsed.is_empty() {
        review.says_none = empty_list;
        if !empty_list {
            let text = value.to_string();
            let end = text.floor_char_boundary(UNREAD);
            review.unparsed.push(text[..end].to_owned());
        }
    }
    review
}

/// Adds the findings of JSON inside a review in Markdown that the Markdown itself does not contain.
pub(super) fn add(review: &mut Review, found: Review) {
    for finding in found.findings {
        let known = review.findings.iter().any(|known| {
            known.title == finding.title && known.locations.first() == finding.locations.first()
        });
        if !known {
            review.findings.push(finding);
        }
    }
    review.unparsed.extend(found.unparsed);
    if review.summary.is_empty() {
        review.summary = found.summary;
    }
    for (notes, more) in [
        (&mut review.strengths, found.strengths),
        (&mut review.concerns, found.concerns),
        (&mut review.testing_gaps, found.testing_gaps),
        (&mut review.documentation, found.documentation),
        (&mut review.commit_structure, found.commit_structure),
        (
            &mut review.acknowledged_limitations,
            found.acknowledged_limitations,
        ),
        (&mut review.unresolved_feedback, found.unresolved_feedback),
    ] {
        notes.extend(more);
    }
    review.coverage.extend(found.coverage);
}

/// Properties of a value that its enclosing objects define.
#[derive(Clone, Default)]
struct Context {
    severity: Option<Severity>,
    path: Option<String>,
    /// The value is in a list of findings, so a text alone is one.
    listed: bool,
}

fn context(name: &str, object: &Map<String, Value>, listed: bool) -> Context {
    let own = string(object, &["path", "file", "filename", "file_path"]);
    let named = (name.contains(['/', '.'])).then(|| name.to_owned());
    Context {
        severity: severity_of_list(name).or_else(|| severity_of(object)),
        path: named.or(own),
        listed,
    }
}

/// Reads the findings of a value: lists in lists, lists by severity, lists by file.
fn read(value: &Value, context: &Context, depth: usize, review: &mut Review) {
    match value {
        Value::Array(items) if depth > 0 => {
            for item in items {
                read(item, context, depth - 1, review);
            }
        }
        Value::Object(object) if depth > 0 && !is_finding(object) => {
            let mut any = false;
            for (name, child) in object {
                if child.is_array() || child.is_object() {
                    any = true;
                    let named = name.to_lowercase();
                    let listed = LISTS.contains(&named.as_str())
                        || context.listed && severity_of_list(&named).is_some()
                        || context.listed && name.contains(['/', '.']);
                    let mut inner = self::context(name, object, listed);
                    inner.severity = inner.severity.or(context.severity);
                    inner.path = inner.path.or_else(|| context.path.clone());
                    read(child, &inner, depth - 1, review);
                }
            }
            if context.listed && !any && !object.is_empty() {
                review.unparsed.push(value.to_string());
            }
        }
        Value::Object(object) => {
            let number = review.findings.len() + 1;
            match finding(object, context, number) {
                Some(finding) => review.findings.push(finding),
                None => review.unparsed.push(value.to_string()),
            }
            // A finding of a file may hold a list of its own: what was found in that file.
            for (name, child) in lists(object) {
                let mut inner = self::context(name, object, true);
                inner.severity = inner.severity.or(context.severity);
                read(child, &inner, depth.saturating_sub(1), review);
            }
        }
        Value::String(title) if context.listed && !markdown::is_none(title) => {
            let number = review.findings.len() + 1;
            let severity = context.severity.unwrap_or(Severity::Important);
            let mut finding = Finding::new(format!("#{number}"), severity, one_line(title));
            finding.locations = markdown::places(title);
            finding.locations.retain(|place| place.start.is_some());
            if let (Some(path), true) = (&context.path, finding.locations.is_empty()) {
                finding.locations.push(written(path));
            }
            review.findings.push(finding);
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
        other if context.listed => review.unparsed.push(other.to_string()),
        _ => {}
    }
}

/// Whether an object is a finding by its fields: words, and how bad it is or where.
fn is_finding(object: &Map<String, Value>) -> bool {
    let text = |names: &[&str]| {
        names
            .iter()
            .any(|n| object.get(*n).is_some_and(Value::is_string))
    };
    let about = [
        "severity",
        "level",
        "priority",
        "line",
        "lines",
        "path",
        "file",
        "location",
        "locations",
        "id",
        "fix",
    ];
    (text(&TITLES) || text(&TEXTS)) && about.iter().any(|n| object.contains_key(*n))
        || text(&["title", "headline", "issue"]) && lists(object).next().is_none()
}

/// The lists of findings in an object.
fn lists(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(name, child)| {
        LISTS.contains(&name.to_lowercase().as_str()) && (child.is_array() || child.is_object())
    })
}

/// Whether a value is an empty list, groups that are all empty lists, or the words "no findings".
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(groups) => groups.values().all(is_empty),
        Value::String(text) => markdown::is_none(text),
        _ => false,
    }
}

/// Whether a value holds findings somewhere: for JSON between the parts of a review.
pub(super) fn holds_findings(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_findings),
        Value::Object(object) => {
            is_finding(object)
                || lists(object).next().is_some()
                || object.values().any(holds_findings)
        }
        _ => false,
    }
}

fn texts(object: &Map<String, Value>, review: &mut Review) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Class, Scope};
    use crate::parse::{Format, parse};

    fn text(json: &str) -> Review {
        parse(Format::Json, "r", json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"))
    }

    #[test]
    fn the_whole_format() {
        let review = text(
            r#"{"version": 1, "summary": "Fine.", "findings": [{
                "id": "I1", "severity": "important", "class": "regression", "scope": "in-scope",
                "title": "Timer leaks", "locations": [{"path": "a/b.rs", "start": 3, "end": 5}, {"path": "c.rs"}],
                "quote": "let t = timer();", "explanation": "It leaks.", "fix": "-a\n+b",
                "evidence": [{"command": "cargo test", "output": "failed"}]}],
              "strengths": ["Small"], "concerns": [{"title": "Coupled", "text": "to much"}],
              "testing_gaps": ["No test"], "coverage": [{"path": "a/b.rs", "status": "I1"}]}"#,
        );
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
    fn path_may_contain_blanks() {
        let review = text(
            r#"[{"title": "A", "file": "a folder/ü b.py", "line": 3}, {"title": "B", "file": "a folder/b.py:4-6"},
                {"title": "C", "location": "a folder/b.py:7"}, {"title": "D", "location": "somewhere in the parser"}]"#,
        );
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
        for json in [
            r#"[{"title": "T", "severity": "HIGH", "file": "a.rs:7-9"}]"#,
            r#"{"findings": {"important": [{"name": "T", "path": "a.rs", "lines": "7-9"}]}}"#,
            r#"{"issues": [{"title": "T", "file": "./a.rs", "line": "7", "end_line": 9}]}"#,
            "Sure:\n\n```json\n{\"findings\": [{\"title\": \"T\", \"location\": \"a.rs:7-9\"}]}\n```\n\nAnything else?",
            r#"{"title": "T", "severity": "major", "file": "a.rs", "lines": [7, 9]}"#,
        ] {
            let review = text(json);
            let finding = &review.findings[0];
            assert_eq!(finding.title, "T", "{json}");
            assert_eq!(finding.severity, Severity::Important, "{json}");
            let place = &finding.locations[0];
            assert_eq!(
                (place.path.as_str(), place.start, place.end),
                ("a.rs", Some(7), Some(9)),
                "{json}"
            );
            assert_eq!(finding.locations.len(), 1, "{json}");
        }
    }

    #[test]
    fn json_without_finding_is_kept_as_unread() {
        let review = text(r#"{"findings": [{"severity": "important"}, 5, {"title": "T"}]}"#);
        assert_eq!((review.findings.len(), review.unparsed.len()), (1, 2));
    }
}
