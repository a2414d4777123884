//! Checkstyle's XML, which many linters print: `<checkstyle><file name><error line severity message source/>…`.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Collector, line, path, severity};
use crate::model::{Location, Review};

pub(in crate::parse) fn checkstyle(reviewer: &str, text: &str) -> Result<Review, String> {
    let mut reader = Reader::from_str(text);
    let mut collector = Collector::new(reviewer);
    let mut file = String::new();
    let mut root = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|e| format!("byte {}: {e}", reader.error_position()))?;
        match event {
            Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                b"checkstyle" => root = true,
                b"file" => file = path(&attribute(&tag, "name")),
                b"error" => {
                    let source = attribute(&tag, "source");
                    let level = attribute(&tag, "severity");
                    let message = attribute(&tag, "message");
                    if let Some(finding) = collector.push(&source, severity(&level), &message)
                        && !file.is_empty()
                    {
                        finding.locations.push(Location {
                            path: file.clone(),
                            start: line(attribute(&tag, "line").parse().ok()),
                            end: None,
                        });
                    }
                }
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    if root {
        Ok(collector.finish())
    } else {
        Err("there is no element `checkstyle`".to_owned())
    }
}

/// An attribute without its entities; empty when it is missing or broken. Entities that a DTD defines are not
/// expanded, so an entity bomb has no effect.
fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let Ok(Some(attribute)) = tag.try_get_attribute(name) else {
        return String::new();
    };
    let raw = String::from_utf8_lossy(&attribute.value).into_owned();
    quick_xml::escape::unescape(&raw).map_or(raw.clone(), |text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn errors_of_files() {
        let review = checkstyle(
            "shellcheck",
            "<?xml version='1.0' encoding='UTF-8'?>\n<checkstyle version='4.3'>\n<file name='a.sh' >\n\
             <error line='3' column='1' severity='error' message='Use &quot;$a&quot; &amp; b' source='ShellCheck.SC2086' />\n\
             </file><file name='b.sh'/></checkstyle>",
        )
        .unwrap();
        assert_eq!(review.findings.len(), 1);
        let finding = &review.findings[0];
        assert_eq!(finding.title, "ShellCheck.SC2086: Use \"$a\" & b");
        assert_eq!(finding.severity, Severity::Important);
        assert_eq!(finding.locations[0].start, Some(3));
        assert!(checkstyle("r", "<html/>").is_err());
        assert!(checkstyle("r", "<checkstyle><file").is_err());
    }
}
