//! Which format an output has.

use serde_json::Value;

use super::{Format, json};

/// How much of a text is looked at for the names that tell formats apart.
const BEGINNING: usize = 4096;

/// Tells the format by what stands in the output; never by a file's name. What is nothing else is Markdown.
pub fn detect(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    let end = text.floor_char_boundary(BEGINNING);
    let beginning = &text[..end];
    if text.starts_with('<') && beginning.contains("<checkstyle") {
        return Format::Checkstyle;
    }
    if !text.starts_with(['{', '[']) {
        return if json::inside(text).is_some() {
            Format::Json
        } else {
            Format::Markdown
        };
    }
    let first_line = text.lines().next().unwrap_or("");
    if let Ok(Value::Object(object)) = serde_json::from_str(first_line) {
        if object.contains_key("reason") {
            return Format::Cargo;
        }
        let diagnostic = object.contains_key("message") && object.contains_key("location");
        if diagnostic && !object.contains_key("title") {
            return Format::Rdjsonl;
        }
    }
    let whole: Option<Value> = serde_json::from_str(text).ok();
    match whole.as_ref() {
        Some(Value::Object(object)) if object.get("runs").is_some_and(Value::is_array) => {
            Format::Sarif
        }
        Some(Value::Object(object)) if object.contains_key("diagnostics") => Format::Rdjson,
        Some(_) => Format::Json,
        None if json::inside(text).is_some() => Format::Json,
        None => Format::Markdown,
    }
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
            (
                "Here it is:\n```json\n{\"findings\":[]}\n```\nDone.",
                Format::Json,
            ),
            ("The list:\n{\"findings\": []}", Format::Json),
            ("An example: {\"a\": 1}", Format::Markdown),
        ] {
            assert_eq!(detect(text.as_bytes()), expected, "{text}");
        }
    }
}
