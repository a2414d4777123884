//! The deep-review program.

fn main() -> std::process::ExitCode {
    review::cli::main()
}
