//! Versions as Lima and QEMU write them.

use std::cmp::Ordering;

/// Compares the numbers of two versions: `2.10.0` is newer than `v2.9`. What follows the numbers is not looked at.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    numbers(a).cmp(&numbers(b))
}

fn numbers(text: &str) -> [u64; 3] {
    let mut found = [0; 3];
    let parts = text.trim_start_matches('v').split(['.', '-', '+']);
    for (number, part) in found.iter_mut().zip(parts) {
        match part.parse() {
            Ok(value) => *number = value,
            Err(_) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (a, b, expected) in [
            ("2.10.0", "2.9", Ordering::Greater),
            ("v2.0", "2.0.0", Ordering::Equal),
            ("2.0.0-rc.1", "2.0.1", Ordering::Less),
            ("", "0", Ordering::Equal),
        ] {
            assert_eq!(compare(a, b), expected, "{a} {b}");
        }
    }
}
