//! Completion scripts, made from the definition of the command line.

/// The completion script for a shell.
pub(crate) fn script(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(false), "rdd", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
