//! SARIF 2.1.0: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html>.

use serde_json::Value;

use super::{Collector, line, path, severity};
use crate::model::{Location, Review, Severity};

/// Scores of `security-severity` (CVSS) that are critical and important, as GitHub's code scanning reads them.
const CRITICAL_SCORE: f64 = 9.0;
const IMPORTANT_SCORE: f64 = 7.0;

pub(in crate::parse) fn sarif(reviewer: &str, text: &str) -> Result<Review, String> {
    let log: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let runs = log["runs"].as_array().ok_or("there is no list `runs`")?;
    let mut collector = Collector::new(reviewer);
    for run in runs {
        for result in run["results"].as_array().into_iter().flatten() {
            one(run, result, &mut collector);
        }
    }
    Ok(collector.finish())
}

fn one(run: &Value, result: &Value, collector: &mut Collector) {
    // §3.27.9: `pass`, `notApplicable`… are no findings. §3.27.23: a suppression counts unless it was rejected.
    let kind = result["kind"].as_str().unwrap_or("fail");
    let suppressed = result["suppressions"].as_array().is_some_and(|all| {
        all.iter()
            .any(|s| !matches!(s["status"].as_str(), Some("rejected" | "underReview")))
    });
    if !matches!(kind, "fail" | "open" | "review" | "informational") || suppressed {
        return;
    }
    let id = result["ruleId"]
        .as_str()
        .or(result["rule"]["id"].as_str())
        .unwrap_or("");
    let rule = rule(run, result, id);
    let text = |value: &Value| {
        value["text"]
            .as_str()
            .or(value["markdown"].as_str())
            .unwrap_or("")
            .to_owned()
    };
    let mut message = text(&result["message"]);
    if message.is_empty() {
        // §3.11.6: the message's id points at a string of the rule, with `{0}` for its arguments.
        if let Some(key) = result["message"]["id"].as_str() {
            message = text(&rule["messageStrings"][key]);
            for (n, argument) in result["message"]["arguments"]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                message = message.replace(&format!("{{{n}}}"), argument.as_str().unwrap_or(""));
            }
        }
    }
    if message.is_empty() {
        message = text(&rule["shortDescription"]);
    }
    let level = match run["tool"]["driver"]["name"].as_str() {
        Some("ruff") => ruff(id),
        _ => level(rule, result),
    };
    let Some(finding) = collector.push(id, level, &message) else {
        return;
    };
    for place in result["locations"].as_array().into_iter().flatten() {
        let physical = &place["physicalLocation"];
        let Some(uri) = physical["artifactLocation"]["uri"].as_str().or_else(|| {
            let index = usize::try_from(physical["artifactLocation"]["index"].as_u64()?).ok()?;
            run["artifacts"][index]["location"]["uri"].as_str()
        }) else {
            continue;
        };
        let start = line(physical["region"]["startLine"].as_u64());
        // §3.30.8: the end column is the one behind the region, so column 1 is the end of the line before.
        let end = line(physical["region"]["endLine"].as_u64());
        let end = match physical["region"]["endColumn"].as_u64() {
            Some(1) => end.map(|end| end.saturating_sub(1)),
            _ => end,
        };
        finding.locations.push(Location {
            path: path(uri),
            start,
            end: end.filter(|e| start.is_some_and(|s| *e > s)),
        });
        if finding.quote.is_none() {
            finding.quote = physical["region"]["snippet"]["text"]
                .as_str()
                .map(str::to_owned);
        }
    }
    if let Some(fix) = result["fixes"][0]["description"]["text"].as_str() {
        finding.fix = Some(fix.to_owned());
    }
    let help = beginning(&text(&rule["fullDescription"]));
    if !help.is_empty() && !finding.explanation.contains(&help) {
        finding.explanation.push_str("\n\n");
        finding.explanation.push_str(&help);
    }
    if let Some(uri) = rule["helpUri"].as_str() {
        finding.explanation.push_str(&format!("\n\n<{uri}>"));
    }
}

/// The paragraphs at the beginning of a rule's description. Some tools put their whole manual there; the reader of a
/// review has the link to it.
fn beginning(help: &str) -> String {
    const ENOUGH: usize = 500;
    let mut result = String::new();
    for paragraph in help.split("\n\n") {
        if !result.is_empty() && result.len() + paragraph.len() > ENOUGH {
            break;
        }
        if !result.is_empty() {
            result.push_str("\n\n");
        }
        result.push_str(paragraph);
    }
    result
}

/// ruff reports every finding as an error. Only these keep code from running: syntax, and the rules that flake8's own
/// documentation has a build stop for (E9, F63, F7, F82).
fn ruff(id: &str) -> Severity {
    let stops = ["invalid-syntax", "syntax-error", "E9", "F63", "F7", "F82"];
    if stops.iter().any(|rule| id.starts_with(rule)) {
        Severity::Important
    } else {
        Severity::Suggestion
    }
}

fn rule<'a>(run: &'a Value, result: &Value, id: &str) -> &'a Value {
    let rules = &run["tool"]["driver"]["rules"];
    let by_index = result["ruleIndex"]
        .as_u64()
        .or(result["rule"]["index"].as_u64())
        .and_then(|i| usize::try_from(i).ok())
        .map(|i| &rules[i])
        .filter(|r| {
            r["id"]
                .as_str()
                .is_some_and(|r| id.is_empty() || id.starts_with(r))
        });
    by_index
        .or_else(|| {
            rules
                .as_array()?
                .iter()
                .find(|r| r["id"].as_str() == Some(id))
        })
        .unwrap_or(&Value::Null)
}

fn level(rule: &Value, result: &Value) -> Severity {
    let score = &rule["properties"]["security-severity"];
    let score = score
        .as_f64()
        .or_else(|| score.as_str().and_then(|s| s.parse().ok()));
    let level = result["level"]
        .as_str()
        .or(rule["defaultConfiguration"]["level"].as_str())
        .unwrap_or("warning");
    match score {
        Some(score) if score >= CRITICAL_SCORE => Severity::Critical,
        Some(score) if score >= IMPORTANT_SCORE => Severity::Important,
        _ => severity(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_ruff_prints_it() {
        let long = format!("{}\\n\\nAnd {}", "First. ".repeat(10), "so on ".repeat(200));
        let review = sarif(
            "ruff",
            &r#"{"runs": [{"tool": {"driver": {"name": "ruff", "rules": [{"id": "F401", "fullDescription": {"text": "LONG"}}]}},
                "results": [
                    {"ruleId": "F401", "level": "error", "message": {"text": "`os` imported but unused"},
                     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///w/a.py"},
                        "region": {"startLine": 1, "startColumn": 8, "endLine": 2, "endColumn": 1}}}]},
                    {"ruleId": "invalid-syntax", "level": "error", "message": {"text": "Expected `)`"}, "locations": []}]}]}"#
                .replace("LONG", &long),
        )
        .unwrap();
        let [unused, syntax] = review.findings.as_slice() else {
            panic!("{review:?}");
        };
        assert_eq!(unused.severity, Severity::Suggestion);
        assert_eq!(
            (unused.locations[0].start, unused.locations[0].end),
            (Some(1), None)
        );
        assert!(unused.explanation.contains("First."));
        assert!(!unused.explanation.contains("so on"));
        assert_eq!(syntax.severity, Severity::Important);
    }

    #[test]
    fn results_with_their_rules() {
        let review = sarif(
            "semgrep",
            r#"{"version": "2.1.0", "runs": [{
                "tool": {"driver": {"name": "t", "rules": [
                    {"id": "R1", "fullDescription": {"text": "Long."}, "properties": {"security-severity": "9.8"}},
                    {"id": "R2", "messageStrings": {"m": {"text": "Use {0}."}}, "defaultConfiguration": {"level": "error"}}]}},
                "artifacts": [{"location": {"uri": "b.py"}}],
                "results": [
                    {"ruleId": "R1", "ruleIndex": 0, "message": {"text": "Injection\nbecause"}, "level": "warning",
                     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///w/a%20b.py"},
                        "region": {"startLine": 3, "endLine": 4, "snippet": {"text": "eval(x)"}}}}]},
                    {"ruleId": "R2", "message": {"id": "m", "arguments": ["that"]},
                     "locations": [{"physicalLocation": {"artifactLocation": {"index": 0}}}]},
                    {"ruleId": "R2", "kind": "pass", "message": {"text": "fine"}},
                    {"ruleId": "R2", "message": {"text": "hidden"}, "suppressions": [{"kind": "inSource"}]}]}]}"#,
        )
        .unwrap();
        assert_eq!(review.findings.len(), 2);
        let first = &review.findings[0];
        assert_eq!(first.title, "R1: Injection");
        assert_eq!(first.severity, Severity::Critical);
        assert_eq!(first.locations[0].path, "/w/a b.py");
        assert_eq!(
            (first.locations[0].start, first.locations[0].end),
            (Some(3), Some(4))
        );
        assert_eq!(first.quote.as_deref(), Some("eval(x)"));
        assert!(first.explanation.contains("Long."));
        let second = &review.findings[1];
        assert_eq!(second.title, "R2: Use that.");
        assert_eq!(second.severity, Severity::Important);
        assert_eq!(second.locations[0].path, "b.py");
        assert!(sarif("r", "{}").is_err());
    }
}
