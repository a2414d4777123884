//! `--instance`, which is accepted directly after `rdd` only.
//!
//! It is removed before clap sees the arguments: all later arguments belong to a command, and some commands (`shell`,
//! `kubectl`) pass them to programs that may have an `--instance` flag themselves.

use std::ffi::OsString;

/// Splits the arguments of the program into the instance that the flag names, if any, and the others.
pub(crate) fn take(mut arguments: Vec<OsString>) -> (Option<String>, Vec<OsString>) {
    let Some(first) = arguments.get(1).and_then(|argument| argument.to_str()) else {
        return (None, arguments);
    };
    if let Some(value) = first.strip_prefix("--instance=") {
        let value = value.to_owned();
        arguments.remove(1);
        return (Some(value).filter(|value| !value.is_empty()), arguments);
    }
    if first != "--instance" {
        return (None, arguments);
    }
    // A flag is no name: in `rdd --instance --version` the name is missing.
    let value = arguments
        .get(2)
        .and_then(|value| value.to_str())
        .filter(|value| !value.starts_with('-'))
        .map(str::to_owned);
    let taken = if value.is_some() { 2 } else { 1 };
    arguments.drain(1..=taken);
    (value.filter(|value| !value.is_empty()), arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: &[&str]) -> (Option<String>, Vec<String>) {
        let (instance, rest) = take(arguments.iter().map(OsString::from).collect());
        (
            instance,
            rest.into_iter()
                .map(|argument| argument.into_string().unwrap())
                .collect(),
        )
    }

    #[test]
    fn flag_is_taken_directly_after_the_program_only() {
        for (arguments, instance, rest) in [
            (
                vec!["rdd", "--instance", "x", "svc"],
                Some("x"),
                vec!["rdd", "svc"],
            ),
            (
                vec!["rdd", "--instance=x", "svc"],
                Some("x"),
                vec!["rdd", "svc"],
            ),
            (vec!["rdd", "--instance=", "svc"], None, vec!["rdd", "svc"]),
            (
                vec!["rdd", "--instance", "", "svc"],
                None,
                vec!["rdd", "svc"],
            ),
            (
                vec!["rdd", "--instance", "--version"],
                None,
                vec!["rdd", "--version"],
            ),
            (vec!["rdd", "--instance"], None, vec!["rdd"]),
            (
                vec!["rdd", "svc", "--instance", "x"],
                None,
                vec!["rdd", "svc", "--instance", "x"],
            ),
            (vec!["rdd"], None, vec!["rdd"]),
        ] {
            let (found, others) = taken(&arguments);
            assert_eq!(
                (found.as_deref(), others),
                (instance, rest.iter().map(ToString::to_string).collect()),
                "{arguments:?}"
            );
        }
    }
}
