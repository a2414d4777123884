//! The program inside the guest. [`guest`] describes its work.

#[cfg(target_os = "linux")]
mod guest;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    guest::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
