//! Escapes text for HTML. All text from outside goes through this module.

/// Text for content and for attributes in double quotes. Characters that turn the direction of text are made visible,
/// since they can make code look like other code.
pub(super) fn escape(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            '\'' => result.push_str("&#39;"),
            '\n' | '\t' => result.push(c),
            c if c.is_control() => result.push('\u{fffd}'),
            c if crate::plain::is_hidden(c) && c != '\u{200d}' => {
                result.push_str(&format!("⟦U+{:04X}⟧", u32::from(c)));
            }
            c => result.push(c),
        }
    }
    result
}

/// An address that is safe in `href`: its scheme cannot run a script.
pub(super) fn safe_href(url: &str) -> Option<String> {
    let ok = ["https://", "http://", "mailto:"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    });
    let plain = !url.chars().any(|c| c.is_control() || c.is_whitespace());
    (ok && plain).then(|| escape(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_stays_in_text_and_attribute() {
        assert_eq!(
            escape("<a href=\"x\" id='y'>&\u{202e}\0"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;⟦U+202E⟧\u{fffd}"
        );
    }

    #[test]
    fn only_harmless_schemes_are_links() {
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "//evil.example/x",
            "https://a\u{9}b",
        ] {
            assert_eq!(safe_href(url), None, "{url}");
        }
        assert_eq!(
            safe_href("HTTPS://a/\"b").as_deref(),
            Some("HTTPS://a/&quot;b")
        );
    }
}
