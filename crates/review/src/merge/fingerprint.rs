//! A name for a defect that survives small moves of the code.

use sha2::{Digest, Sha256};

use super::similarity::normal_line;
use super::words::tokens;
use crate::model::Finding;

/// Half a SHA-256, in hex: path, then the quoted lines without white space, or the words of the title where nothing
/// was quoted. No line numbers, so that a finding keeps its name when code above it grows.
pub(super) fn fingerprint(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    let path = finding.locations.first().map_or("", |l| l.path.as_str());
    hash.update(path.as_bytes());
    hash.update([0]);
    let quoted: Vec<String> = finding
        .quote
        .iter()
        .flat_map(|q| q.lines())
        .filter_map(normal_line)
        .collect();
    if quoted.is_empty() {
        let mut words = tokens(&finding.title);
        words.sort();
        words.dedup();
        for word in words {
            hash.update(word.as_bytes());
            hash.update([1]);
        }
    } else {
        for line in quoted {
            hash.update(line.as_bytes());
            hash.update([2]);
        }
    }
    let digest = hash.finalize();
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Location, Severity};

    fn finding(line: u32, quote: Option<&str>, title: &str) -> Finding {
        Finding {
            locations: vec![Location {
                path: "a.rs".to_owned(),
                start: Some(line),
                end: None,
            }],
            quote: quote.map(str::to_owned),
            ..Finding::new("1", Severity::Important, title)
        }
    }

    #[test]
    fn moves_and_indentation_keep_it() {
        let one = fingerprint(&finding(3, Some("let x = compute();\n"), "One"));
        assert_eq!(
            one,
            fingerprint(&finding(90, Some("    let x = compute();"), "Other words"))
        );
        assert_ne!(
            one,
            fingerprint(&finding(3, Some("let y = compute();\n"), "One"))
        );
        assert_eq!(one.len(), 32);
    }

    #[test]
    fn without_a_quote_the_title_counts() {
        let one = fingerprint(&finding(3, None, "Timer leaks in loop"));
        assert_eq!(
            one,
            fingerprint(&finding(8, None, "Timers leaked: in the loop"))
        );
        assert_ne!(one, fingerprint(&finding(3, None, "Socket leaks in loop")));
    }
}
