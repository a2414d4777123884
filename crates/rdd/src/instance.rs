//! Instances: a user can run several daemons at the same time. They share only the image cache.

use std::fmt;

use anyhow::bail;

/// The instance when neither `--instance` nor `RDD_INSTANCE` names one.
pub(crate) const DEFAULT: &str = "2";

/// The longest name of an instance, in bytes: it is part of the path of every socket, which may have 104 bytes at most.
const LONGEST_NAME: usize = 32;

/// The port of a Kubernetes API server. The ports of instances are this number plus their index.
pub(crate) const BASE_PORT: u16 = 6443;

/// The name of an instance. It is valid as a part of a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance(String);

impl Instance {
    /// Checks a name. It becomes part of the names of folders that `svc delete` removes, so a name that could lead out
    /// of the home folder is refused.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty()
            || name.len() > LONGEST_NAME
            || !name.chars().all(allowed)
            || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            bail!(
                "invalid instance name {name:?}: use 1 to {LONGEST_NAME} letters, digits, `.`, `_` or `-`, \
                 beginning with a letter or digit"
            );
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as the user gave it.
    pub(crate) fn suffix(&self) -> &str {
        &self.0
    }

    /// The number by which the ports of instances differ: the name itself for 1 to 99, else a number from 100 to 199 that
    /// is computed from the characters.
    pub(crate) fn index(&self) -> u16 {
        match self.0.parse() {
            Ok(number @ 1..=99) => number,
            _ => {
                100 + self
                    .0
                    .bytes()
                    .fold(0, |sum: u16, byte| (sum + u16::from(byte)) % 100)
            }
        }
    }

    /// The port of the API, if it is free.
    pub(crate) fn preferred_port(&self) -> u16 {
        BASE_PORT + self.index()
    }
}

/// The name in messages and of folders: `rancher-desktop-SUFFIX`.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rancher-desktop-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_port() {
        for (name, index) in [
            ("2", 2),
            ("1", 1),
            ("99", 99),
            ("07", 7),
            // '1' + '0' + '0' = 49 + 48 + 48 = 145
            ("100", 145),
            ("0", 148),
            // 'a' = 97
            ("a", 197),
            // 97 + 98 = 195
            ("ab", 195),
        ] {
            let instance = Instance::new(name).unwrap();
            assert_eq!(instance.index(), index, "{name}");
            assert_eq!(instance.preferred_port(), 6443 + index, "{name}");
        }
    }

    #[test]
    fn names_that_lead_out_of_the_home_folder_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "a\\b",
            "-x",
            "a b",
            "a\0",
            "ü",
            &"x".repeat(33),
        ] {
            let error = Instance::new(name).unwrap_err().to_string();
            assert!(error.contains("invalid instance name"), "{name:?}: {error}");
        }
        assert!(Instance::new(&"x".repeat(32)).is_ok());
    }
}
