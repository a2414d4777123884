//! The reference of all commands (`docs/cli.md`), made from the definition of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// The reference as Markdown.
pub(crate) fn reference() -> String {
    let mut command = crate::cli::command(true).term_width(0);
    command.build();
    let mut text = String::from(
        "# Commands\n\n\
         Generated from the program with `rdd docs`; a test keeps it current (`UPDATE_DOCS=1 cargo test -p rdd --test cli docs`).\n\n\
         Exit codes: 0 success, 1 error, 2 usage, 3 rejected by admission, 4 a wait's deadline passed, 5 incompatible\n\
         daemon (`rdd svc restart` replaces it), 130 interrupted. Durations read `30s`, `5m`; a timeout of `0` waits without limit, a\n\
         grace period of `0` leaves a guest no time.\n",
    );
    describe(&mut text, &command, "rdd", 2);
    text
}

fn describe(text: &mut String, command: &Command, path: &str, depth: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{} `{path}`\n", "#".repeat(depth.min(4)));
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = writeln!(text, "{}", about.trim());
    let aliases: Vec<_> = command
        .get_all_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "\nAlso: {}.", aliases.join(", "));
    }
    let children: Vec<_> = command
        .get_subcommands()
        .filter(|child| !child.is_hide_set() && child.get_name() != "help")
        .collect();
    if children.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let _ = writeln!(
            text,
            "\n```text\n{}\n```",
            usage.replace("Usage: ", "").trim()
        );
    }
    // The flags that all commands have are listed once, at the root.
    let of_its_own = |argument: &&Arg| depth == 2 || !argument.is_global_set();
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(of_its_own)
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            let _ = writeln!(
                text,
                "| `{}` | {} |",
                signature(argument),
                meaning(argument)
            );
        }
    }
    for child in children {
        describe(
            text,
            child,
            &format!("{path} {}", child.get_name()),
            depth + 1,
        );
    }
}

fn signature(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .map(|names| {
            names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .unwrap_or_default();
    let Some(long) = argument.get_long() else {
        return value.replace('|', "\\|");
    };
    let short = argument
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let optional = argument
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0);
    let value = match (takes_value, optional) {
        (false, _) => String::new(),
        (true, true) => format!("[={value}]"),
        (true, false) => format!(" {value}"),
    };
    format!("{short}--{long}{value}").replace('|', "\\|")
}

fn meaning(argument: &Arg) -> String {
    let mut meaning = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let choices: Vec<_> = argument
        .get_possible_values()
        .iter()
        .filter(|_| !argument.is_hide_possible_values_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !choices.is_empty() && argument.get_action().takes_values() {
        let _ = write!(meaning, ": {}", choices.join(", "));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(meaning, " (default: `{}`)", defaults.join(" "));
    }
    meaning.replace('|', "\\|")
}
