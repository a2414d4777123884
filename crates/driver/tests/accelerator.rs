//! The accelerator probe with the real QEMU: an accelerator that works is used, one that hangs is not, and results are cached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use driver::Accelerator;
use driver::qemu::accelerator_probe::{Verdict, choose, probe};
use lima::template::Arch;

fn qemu() -> PathBuf {
    let name = if Arch::of_this_build() == Some(Arch::Aarch64) {
        "qemu-system-aarch64"
    } else {
        "qemu-system-x86_64"
    };
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|p| p.join(name))
        .find(|p| p.is_file())
        .unwrap()
}

fn arch() -> Arch {
    Arch::of_this_build().unwrap()
}

/// Writes a program that counts its runs and then runs `rest`.
fn counting_program(folder: &Path, rest: &str) -> PathBuf {
    let path = folder.join("qemu-under-test");
    let runs = folder.join("runs");
    std::fs::write(
        &path,
        format!("#!/bin/sh\necho >> '{}'\n{rest}\n", runs.display()),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("runs")).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn probe_guest_finishes_under_emulation() {
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(
        probe(&qemu(), arch(), Accelerator::Tcg, cache.path())
            .await
            .unwrap(),
        Verdict::Works
    );
}

/// Passes on every host: either KVM runs the probe guest, or the guest is emulated and the warning has the reason.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn hardware_is_used_only_if_it_runs_the_probe_guest() {
    let cache = tempfile::tempdir().unwrap();
    let verdict = probe(&qemu(), arch(), Accelerator::Kvm, cache.path())
        .await
        .unwrap();
    let choice = choose(&qemu(), arch(), None, cache.path()).await.unwrap();
    match verdict {
        Verdict::Works => assert_eq!(
            (choice.accelerator, choice.warning),
            (Accelerator::Kvm, None)
        ),
        Verdict::Broken { reason, .. } => {
            assert_eq!(choice.accelerator, Accelerator::Tcg);
            let warning = choice.warning.unwrap();
            assert!(warning.contains("kvm does not work here"), "{warning}");
            assert!(!reason.is_empty());
        }
    }
}

#[tokio::test]
async fn working_accelerator_is_cached_until_the_program_changes() {
    let folder = tempfile::tempdir().unwrap();
    // The exit status of an x86 probe guest that succeeded.
    let program = counting_program(
        folder.path(),
        if arch() == Arch::X86_64 {
            "exit 33"
        } else {
            "exit 0"
        },
    );
    let cache = folder.path().join("cache");
    for _ in 0..3 {
        let choice = choose(&program, arch(), None, &cache).await.unwrap();
        assert_eq!(Some(choice.accelerator), Accelerator::of_host());
        assert_eq!(choice.warning, None);
    }
    assert_eq!(runs(folder.path()), 1, "the second choice uses the cache");

    // Replaces the program, as an upgrade does.
    counting_program(folder.path(), "echo no such device >&2; exit 1");
    let choice = choose(&program, arch(), None, &cache).await.unwrap();
    assert_eq!(choice.accelerator, Accelerator::Tcg);
    assert!(
        choice
            .warning
            .unwrap()
            .contains("QEMU says: no such device")
    );
    choose(&program, arch(), None, &cache).await.unwrap();
    assert_eq!(
        runs(folder.path()),
        3,
        "a refusal is not cached, so the program runs again"
    );
}

#[tokio::test]
async fn hanging_accelerator_is_cached_as_broken() {
    let folder = tempfile::tempdir().unwrap();
    let program = counting_program(folder.path(), "exec sleep 1000");
    let cache = folder.path().join("cache");
    for _ in 0..2 {
        let choice = choose(&program, arch(), None, &cache).await.unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert!(
            choice
                .warning
                .unwrap()
                .contains("did not finish within 2 s")
        );
    }
    assert_eq!(runs(folder.path()), 1);
    // A corrupt cache counts as empty.
    std::fs::write(cache.join("accelerators.json"), "{").unwrap();
    choose(&program, arch(), None, &cache).await.unwrap();
    assert_eq!(runs(folder.path()), 2);
}

#[tokio::test]
async fn forced_accelerator_and_foreign_architecture_are_not_probed() {
    let folder = tempfile::tempdir().unwrap();
    let program = counting_program(folder.path(), "exit 1");
    let forced = choose(&program, arch(), Some(Accelerator::Kvm), folder.path())
        .await
        .unwrap();
    assert_eq!(
        (forced.accelerator, forced.warning),
        (Accelerator::Kvm, None)
    );
    let foreign = choose(&program, Arch::Riscv64, None, folder.path())
        .await
        .unwrap();
    assert_eq!(foreign.accelerator, Accelerator::Tcg);
    assert!(foreign.warning.unwrap().contains("it is riscv64"));
    assert_eq!(runs(folder.path()), 0);
}
