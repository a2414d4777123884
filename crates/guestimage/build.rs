//! Builds the guest agent, which `rdd` contains, so that making an image needs no other file.
//!
//! The agent is the binary of crate `guestagent`. It is linked statically, because guests of other distributions have other C
//! libraries. A cargo of its own builds it in a target folder of its own, because the outer cargo holds the lock on the main
//! one. `RDD_GUESTAGENT` names a finished agent instead, for hosts that cannot build for Linux.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let output = PathBuf::from(env::var("OUT_DIR")?).join("guestagent");
    println!("cargo::rerun-if-env-changed=RDD_GUESTAGENT");
    if let Some(finished) = env::var_os("RDD_GUESTAGENT") {
        println!("cargo::rerun-if-changed={}", Path::new(&finished).display());
        fs::copy(&finished, &output)
            .map_err(|error| format!("RDD_GUESTAGENT={}: {error}", finished.display()))?;
        return Ok(());
    }
    let crates = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let agent = crates.join("guestagent");
    for source in ["src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", agent.join(source).display());
    }
    if env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        // The crate compiles on such a host, and building an image there fails with a message.
        fs::write(&output, b"")?;
        return Ok(());
    }
    // One folder for all profiles and features of the outer build, so that the agent is built only once.
    let target_dir = outer_target_dir(&output).join("guest");
    let target = env::var("TARGET")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--package",
            "guestagent",
            "--bin",
            "guestagent",
        ])
        .args(["--target", &target, "--target-dir"])
        .arg(&target_dir)
        .args([
            "--",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
        ])
        .current_dir(&agent);
    // The variables of the outer cargo (or of clippy's wrapper) must not reach the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_outer = text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
            || text.starts_with("CARGO_PKG_")
            || matches!(
                &*text,
                "CARGO_ENCODED_RUSTFLAGS"
                    | "RUSTC_WRAPPER"
                    | "RUSTC_WORKSPACE_WRAPPER"
                    | "CLIPPY_ARGS"
                    | "CARGO_MAKEFLAGS"
                    | "MAKEFLAGS"
                    | "CARGO_TARGET_DIR"
                    | "PROFILE"
                    | "OPT_LEVEL"
                    | "DEBUG"
            );
        if is_outer {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .status()
        .map_err(|error| format!("cannot run cargo for the guest agent: {error}"))?;
    if !status.success() {
        return Err("building the guest agent failed; its static linking needs the C library's static files \
                    (package libc6-dev), or set RDD_GUESTAGENT to a finished one"
            .into());
    }
    fs::copy(target_dir.join(&target).join("release/guestagent"), &output)?;
    Ok(())
}

/// `OUT_DIR` is `<target>[/<triple>]/<profile>/build/<crate>/out`.
fn outer_target_dir(inside: &Path) -> PathBuf {
    let build = inside
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == "build"));
    let profile_parent = build.and_then(Path::parent).and_then(Path::parent);
    profile_parent.map_or_else(|| inside.with_file_name("target"), Path::to_path_buf)
}
