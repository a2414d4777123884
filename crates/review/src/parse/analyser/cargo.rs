//! `cargo check --message-format=json`: <https://doc.rust-lang.org/cargo/reference/external-tools.html>, and the
//! diagnostics of <https://doc.rust-lang.org/rustc/json.html>.

use serde_json::Value;

use super::{Collector, line, path};
use crate::model::{Location, Review, Severity};

pub(in crate::parse) fn cargo(reviewer: &str, text: &str) -> Result<Review, String> {
    let mut collector = Collector::new(reviewer);
    let (mut messages, mut failure) = (0usize, None);
    for (number, text) in text.lines().enumerate() {
        // Build scripts and cargo itself print other lines between the messages.
        if !text.trim_start().starts_with('{') {
            continue;
        }
        match serde_json::from_str::<Value>(text) {
            Ok(message) => {
                messages += 1;
                if message["reason"] == "compiler-message" {
                    one(&message["message"], &mut collector);
                }
            }
            Err(error) => {
                failure.get_or_insert(format!("line {}: {error}", number + 1));
            }
        }
    }
    match failure {
        Some(failure) if messages == 0 => Err(failure),
        _ => Ok(collector.finish()),
    }
}

fn one(message: &Value, collector: &mut Collector) {
    let spans = message["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(primary) = spans
        .iter()
        .find(|s| s["is_primary"] == true)
        .or(spans.first())
    else {
        // `2 warnings emitted`, `aborting due to…`.
        return;
    };
    let code = message["code"]["code"].as_str().unwrap_or("");
    let severity = match message["level"].as_str().unwrap_or("") {
        // A compiler error breaks the build.
        "error" | "error: internal compiler error" if !code.starts_with("clippy::") => {
            Severity::Critical
        }
        "error" => Severity::Important,
        _ => Severity::Suggestion,
    };
    let text = message["message"].as_str().unwrap_or("");
    let Some(finding) = collector.push(code, severity, text) else {
        return;
    };
    let mut places: Vec<&Value> = vec![primary];
    places.extend(
        spans
            .iter()
            .filter(|s| s["is_primary"] == true && *s != primary),
    );
    for span in places {
        let start = line(span["line_start"].as_u64());
        let end = line(span["line_end"].as_u64());
        finding.locations.push(Location {
            path: path(span["file_name"].as_str().unwrap_or("")),
            start,
            end: end.filter(|e| start.is_some_and(|s| *e > s)),
        });
    }
    let quote: Vec<&str> = primary["text"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|l| l["text"].as_str())
        .collect();
    finding.quote = (!quote.is_empty()).then(|| quote.join("\n"));
    let mut help = Vec::new();
    for child in message["children"].as_array().into_iter().flatten() {
        let text = child["message"].as_str().unwrap_or("");
        // A note on how to silence the lint does not help to fix it.
        if NOISE.iter().any(|noise| text.contains(noise)) {
            continue;
        }
        if let Some(link) = text.strip_prefix("for further information visit ") {
            help.push(format!("<{link}>"));
            continue;
        }
        let replacement = child["spans"][0]["suggested_replacement"].as_str();
        let diff = diff(child["spans"].as_array().map_or(&[], Vec::as_slice));
        let is_diff = diff.is_some();
        match diff.or_else(|| {
            let replacement = replacement.filter(|r| !r.is_empty())?;
            Some(format!("{text}: `{replacement}`"))
        }) {
            Some(fix) if finding.fix.is_none() => {
                finding.fix = Some(fix);
                if is_diff {
                    help.push(format!("To repair it: {text}"));
                }
            }
            _ => help.push(format!(
                "{}: {text}",
                child["level"].as_str().unwrap_or("note")
            )),
        }
    }
    for paragraph in help {
        finding.explanation.push_str("\n\n");
        finding.explanation.push_str(&paragraph);
    }
}

/// The notes that rustc adds to each lint: why it is enabled, and how to disable it.
const NOISE: [&str; 4] = [
    "` implied by `",
    "to override `",
    "` on by default",
    "to silence this warning",
];

/// Replacements within one line as a diff. Columns count characters from 1; the end is the one behind
/// (<https://doc.rust-lang.org/rustc/json.html>, "Diagnostic spans").
fn diff(spans: &[Value]) -> Option<String> {
    let first = spans.first()?;
    let line = &first["line_start"];
    let old = first["text"][0]["text"].as_str()?;
    let mut parts: Vec<(usize, usize, &str)> = Vec::new();
    for span in spans {
        let one_line = span["line_start"] == *line && span["line_end"] == *line;
        if !one_line || span["file_name"] != first["file_name"] {
            return None;
        }
        let column = |key: &str| usize::try_from(span[key].as_u64()?).ok()?.checked_sub(1);
        let text = span["suggested_replacement"].as_str()?;
        parts.push((column("column_start")?, column("column_end")?, text));
    }
    parts.sort_unstable();
    let letters: Vec<char> = old.chars().collect();
    let (mut new, mut at) = (String::new(), 0);
    for (from, to, text) in parts {
        new.extend(letters.get(at..from)?);
        letters.get(from..to)?;
        new.push_str(text);
        at = to;
    }
    new.extend(letters.get(at..)?);
    let path = path(first["file_name"].as_str()?);
    let lines: Vec<String> = new.lines().map(|line| format!("+{line}\n")).collect();
    Some(format!(
        "--- a/{path}\n+++ b/{path}\n@@ -{line},1 +{line},{} @@\n-{old}\n{}",
        lines.len(),
        lines.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_within_a_line_becomes_a_diff() {
        let message = r#"{"reason":"compiler-message","message":{"message":"unneeded `return`","level":"warning","code":{"code":"clippy::needless_return"},"spans":[{"file_name":"src/a.rs","line_start":4,"line_end":4,"is_primary":true,"text":[]}],"children":[{"level":"help","message":"for further information visit https://x/#y","spans":[]},{"level":"note","message":"`-W clippy::needless-return` implied by `-W clippy::style`","spans":[]},{"level":"help","message":"remove `return`","spans":[{"file_name":"src/a.rs","line_start":4,"line_end":4,"column_start":5,"column_end":14,"text":[{"text":"    return ü;"}],"suggested_replacement":"ü"}]}]}}"#;
        let review = cargo("clippy", message).unwrap();
        let finding = &review.findings[0];
        assert_eq!(
            finding.fix.as_deref(),
            Some("--- a/src/a.rs\n+++ b/src/a.rs\n@@ -4,1 +4,1 @@\n-    return ü;\n+    ü\n")
        );
        assert!(
            finding
                .explanation
                .contains("\n\n<https://x/#y>\n\nTo repair it: remove `return`")
        );
        assert!(!finding.explanation.contains("implied by"));
    }

    #[test]
    fn messages_between_other_lines() {
        let message = r#"{"reason":"compiler-message","message":{"message":"unneeded `return`","level":"warning","code":{"code":"clippy::needless_return"},"spans":[{"file_name":"src/a.rs","line_start":4,"line_end":5,"is_primary":true,"text":[{"text":"    return 1;"}]}],"children":[{"level":"help","message":"remove it","spans":[{"suggested_replacement":"1"}]}]}}"#;
        let broken = r#"{"reason":"compiler-message","message":{"message":"mismatched types","level":"error","code":{"code":"E0308"},"spans":[{"file_name":"src/b.rs","line_start":1,"line_end":1,"is_primary":true,"text":[]}],"children":[]}}"#;
        let count = r#"{"reason":"compiler-message","message":{"message":"1 warning emitted","level":"warning","spans":[],"children":[]}}"#;
        let text = format!(
            "   Compiling x\n{message}\n{message}\n{count}\n{broken}\n{{\"reason\":\"build-finished\",\"success\":false}}\n"
        );
        let review = cargo("clippy", &text).unwrap();
        assert_eq!(review.findings.len(), 2);
        let first = &review.findings[0];
        assert_eq!(first.title, "clippy::needless_return: unneeded `return`");
        assert_eq!(first.severity, Severity::Suggestion);
        assert_eq!(first.fix.as_deref(), Some("remove it: `1`"));
        assert_eq!(first.quote.as_deref(), Some("    return 1;"));
        assert_eq!(
            (first.locations[0].start, first.locations[0].end),
            (Some(4), Some(5))
        );
        assert_eq!(review.findings[1].severity, Severity::Critical);
        assert!(cargo("clippy", "").unwrap().findings.is_empty());
    }
}
