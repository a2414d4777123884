//! Detects the format of an output.

use serde_json::Value;

use super::Format;

/// Detects the format of a whole output. A line of JSON or a tag of XML inside a Markdown review can be a quotation from
/// the change, so it does not determine the format. Everything else is Markdown.
pub fn detect(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    if is_checkstyle(text) {
        return Format::Checkstyle;
    }
    if !text.starts_with(['{', '[']) {
        return Format::Markdown;
    }
    // A line each; a whole text that is one object on one line is the same.
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines
        .next()
        .and_then(|line| serde_json::from_str(line).ok());
    let objects =
        lines.all(|line| line.starts_with('{') && serde_json::from_str::<Value>(line).is_ok());
    if let (Some(Value::Object(object)), true) = (&first, objects) {
        if object.contains_key("reason") {
            return Format::Cargo;
        }
        let diagnostic = object.contains_key("message") && object.contains_key("location");
        if diagnostic && !object.contains_key("title") {
            return Format::Rdjsonl;
        }
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) if object.get("runs").is_some_and(Value::is_array) => {
            Format::Sarif
        }
        Ok(Value::Object(object)) if object.contains_key("diagnostics") => Format::Rdjson,
        Ok(_) => Format::Json,
        Err(_) => Format::Markdown,
    }
}

/// Whether a text is one XML document whose root is `checkstyle`.
fn is_checkstyle(text: &str) -> bool {
    let root = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, rest)| rest),
        None => text,
    };
    let root = root.trim_start();
    root.starts_with("<checkstyle")
        && (root.ends_with("</checkstyle>")
            || root.ends_with("/>") && root.matches('<').count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (text, expected) in [
            ("## Findings", Format::Markdown),
            ("[CRITICAL] a.rs", Format::Markdown),
            ("<b>bold</b>", Format::Markdown),
            (
                "<?xml version='1.0'?><checkstyle version='5'/>",
                Format::Checkstyle,
            ),
            (r#"{"version":"2.1.0","runs":[]}"#, Format::Sarif),
            (
                r#"{"source":{"name":"x"},"diagnostics":[]}"#,
                Format::Rdjson,
            ),
            (
                r#"{"message":"m","location":{"path":"a"}}"#,
                Format::Rdjsonl,
            ),
            (
                r#"{"reason":"build-finished","success":true}"#,
                Format::Cargo,
            ),
            (r#"{"findings":[]}"#, Format::Json),
            ("[]", Format::Json),
            // What has JSON or XML in it is read as Markdown, and the JSON beside it.
            (
                "Here it is:\n```json\n{\"findings\":[]}\n```\nDone.",
                Format::Markdown,
            ),
            ("The list:\n{\"findings\": []}", Format::Markdown),
            ("{\"findings\": []}\n\n## Critical Issues", Format::Markdown),
            (
                "{\"reason\": \"x\"}\n\n## Critical Issues",
                Format::Markdown,
            ),
            ("{\"reason\": \"x\"}\n{\"reason\": \"y\"}", Format::Cargo),
            ("<checkstyle/>\n\nC1. **x** — `a.rs:1`", Format::Markdown),
            ("An example: {\"a\": 1}", Format::Markdown),
        ] {
            assert_eq!(detect(text.as_bytes()), expected, "{text}");
        }
    }
}
