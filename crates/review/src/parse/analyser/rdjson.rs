//! reviewdog's diagnostics: <https://github.com/reviewdog/reviewdog/blob/master/proto/rdf/reviewdog.proto>.

use serde_json::Value;

use super::{Collector, line, path, severity};
use crate::model::{Location, Review};

pub(in crate::parse) fn rdjson(reviewer: &str, text: &str) -> Result<Review, String> {
    let all: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let diagnostics = all["diagnostics"]
        .as_array()
        .ok_or("there is no list `diagnostics`")?;
    let mut collector = Collector::new(reviewer);
    for diagnostic in diagnostics {
        one(diagnostic, &all["severity"], &mut collector);
    }
    Ok(collector.finish())
}

pub(in crate::parse) fn rdjsonl(reviewer: &str, text: &str) -> Result<Review, String> {
    let mut collector = Collector::new(reviewer);
    for (number, text) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let diagnostic: Value =
            serde_json::from_str(text).map_err(|e| format!("line {}: {e}", number + 1))?;
        one(&diagnostic, &Value::Null, &mut collector);
    }
    Ok(collector.finish())
}

fn one(diagnostic: &Value, default_level: &Value, collector: &mut Collector) {
    let rule = diagnostic["code"]["value"].as_str().unwrap_or("");
    let level = diagnostic["severity"]
        .as_str()
        .or(default_level.as_str())
        .unwrap_or("");
    let message = diagnostic["message"].as_str().unwrap_or("");
    let Some(finding) = collector.push(rule, severity(level), message) else {
        return;
    };
    let place = &diagnostic["location"];
    if let Some(name) = place["path"].as_str() {
        let start = line(place["range"]["start"]["line"].as_u64());
        let end = line(place["range"]["end"]["line"].as_u64());
        finding.locations.push(Location {
            path: path(name),
            start,
            end: end.filter(|e| start.is_some_and(|s| *e > s)),
        });
    }
    if let Some(text) = diagnostic["suggestions"][0]["text"].as_str() {
        finding.fix = Some(format!("Replace by:\n\n```\n{text}\n```"));
    }
    if let Some(url) = diagnostic["code"]["url"].as_str() {
        finding.explanation.push_str(&format!("\n\n<{url}>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn both_forms() {
        let one = r#"{"message":"Unquoted","location":{"path":"./a.sh","range":{"start":{"line":2,"column":1},"end":{"line":3}}},"severity":"ERROR","code":{"value":"SC2086","url":"https://example.com"}}"#;
        let whole = format!(r#"{{"source":{{"name":"x"}},"diagnostics":[{one}]}}"#);
        for review in [
            rdjson("r", &whole).unwrap(),
            rdjsonl("r", &format!("{one}\n\n{one}\n")).unwrap(),
        ] {
            assert_eq!(review.findings.len(), 1, "equal ones are one");
            let finding = &review.findings[0];
            assert_eq!(finding.title, "SC2086: Unquoted");
            assert_eq!(finding.severity, Severity::Important);
            let place = &finding.locations[0];
            assert_eq!(
                (place.path.as_str(), place.start, place.end),
                ("a.sh", Some(2), Some(3))
            );
        }
        assert!(rdjsonl("r", "{}\nnot json").unwrap_err().contains("line 2"));
    }
}
