//! The name of a new VM. It must be valid as a folder, as an object's name and as a label's value. The command checks it
//! before it connects, because the control plane would report three different rules.

use anyhow::bail;
use lima::layout::{NameError, validate_name};

/// The most characters of a label's value (Kubernetes, "Labels and Selectors"), the lowest of the three limits.
const LONGEST: usize = 63;

/// Checks the name of a VM that is to be created.
pub(super) fn check(name: &str) -> anyhow::Result<()> {
    if name.len() > LONGEST {
        bail!(
            "VM name {name:?} has {} characters; {LONGEST} is the limit",
            name.len()
        );
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    match validate_name(name) {
        Ok(()) if name.chars().all(allowed) => Ok(()),
        Ok(()) | Err(NameError::Invalid { .. }) => bail!(
            "VM name {name:?} is not valid: use lower-case letters and digits, with single \"-\" or \".\" between them"
        ),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_are_refused_with_one_message() {
        for good in ["a", "web-2", "a.b", "0", &"x".repeat(63)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for (name, part) in [
            ("", "is empty"),
            ("Web", "lower-case"),
            ("a_b", "lower-case"),
            ("a/b", "lower-case"),
            ("..", "lower-case"),
            ("-x", "lower-case"),
            ("a--b", "lower-case"),
            ("ü", "lower-case"),
            ("vm.yaml", ".yaml"),
            (&"x".repeat(64), "63 is the limit"),
        ] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains(part), "{name:?}: {error}");
        }
    }
}
