//! The version of this program.

/// `v0.1.0`.
pub(crate) fn short() -> String {
    concat!("v", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The details of the build, one on each line. A release sets `RDD_GIT_COMMIT` and `RDD_BUILD_DATE` while building;
/// a build script that runs git would rebuild the program at every commit.
pub(crate) fn long() -> String {
    format!(
        "Version:     {}\nGitCommit:   {}\nBuildDate:   {}\nRustVersion: {}\nCompiler:    rustc\nPlatform:    {}/{}\n",
        short(),
        option_env!("RDD_GIT_COMMIT").unwrap_or("unknown"),
        option_env!("RDD_BUILD_DATE").unwrap_or("unknown"),
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

/// What `--version=VALUE` prints; `None` for `false`, which prints nothing.
pub(crate) fn answer(value: &str) -> Option<String> {
    match value {
        "false" => None,
        "true" => Some(format!("{}\n", short())),
        "raw" => Some(long()),
        text => Some(format!("{text}\n")),
    }
}
