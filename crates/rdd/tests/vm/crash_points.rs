//! Kills the real daemon, hostagent or command at every crash point of the code ([`process::crash`]), with a real QEMU,
//! and checks that the next start reaches the declared state: nothing is lost, duplicated or left behind (hazards 15, 23,
//! 24).
//!
//! The guest is a stub, because only processes of rdd are killed. `sequences` has a test for each sequence of steps; the
//! table below names the sequence of each point. A point without a row fails, and so does a row without a point.

mod sequences;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The sequence of steps that passes a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `rdd limavm create`; the command itself is killed.
    CreateCommand,
    /// The daemon creates the files of a new VM.
    Create,
    /// A VM starts; daemon or hostagent is killed.
    Start,
    /// The same, with the ssh keys to be made.
    StartWithoutKeys,
    /// The same, with a private key that cannot be used.
    StartWithBadKeys,
    /// A hostagent adopts a running VM.
    Adopt,
    /// A VM is stopped.
    Stop,
    /// A VM is stopped whose guest ignores the request.
    StopByForce,
    /// A VM is restarted on request.
    Restart,
    /// A VM gets another template.
    Template,
    /// A VM is deleted.
    Delete,
    /// A VM gets a new disk.
    Reset,
    /// `rdd svc create`.
    SvcCreate,
    /// `rdd svc start`.
    SvcStart,
    /// The same, with the certificates to be made; the points are passed several times.
    SvcStartWithoutCertificates,
    /// `rdd svc stop`.
    SvcStop,
    /// `rdd svc delete`, with a VM that runs and has no hostagent.
    SvcDelete,
    /// `rdd svc reset`.
    SvcReset,
    /// Not here, as it needs no daemon: in the file of this path below `crates/`, which names the point.
    Elsewhere(&'static str),
}

const POINTS: &[(&str, Way)] = &[
    ("create.after-config-map", Way::CreateCommand),
    ("create.after-object", Way::CreateCommand),
    ("create.after-owner", Way::CreateCommand),
    ("create.after-copy", Way::Create),
    ("create.after-tidy", Way::Create),
    ("prepare.after-folder", Way::Create),
    ("prepare.after-image", Way::Create),
    ("prepare.after-disk", Way::Create),
    ("prepare.after-files", Way::Create),
    ("prepare.after-rename", Way::Create),
    ("create.after-mark", Way::Create),
    ("start.after-spawn", Way::Start),
    ("hostagent.after-lock", Way::Start),
    ("hostagent.after-socket", Way::Start),
    ("hostagent.start.after-cidata", Way::Start),
    ("hostagent.start.after-ssh-config", Way::Start),
    ("qemu.start.after-record", Way::Start),
    ("qemu.start.after-spawn", Way::Start),
    ("qemu.start.after-identity", Way::Start),
    ("qemu.start.after-answer", Way::Start),
    ("hostagent.start.after-machine", Way::Start),
    ("hostagent.after-ready", Way::Start),
    ("keys.after-private", Way::StartWithoutKeys),
    ("keys.after-public", Way::StartWithoutKeys),
    ("keys.after-aside", Way::StartWithBadKeys),
    ("hostagent.after-adoption", Way::Adopt),
    ("stop.after-ask", Way::Stop),
    ("hostagent.stop.after-request", Way::Stop),
    ("hostagent.after-end", Way::Stop),
    ("hostagent.after-farewell", Way::Stop),
    ("hostagent.after-clean-up", Way::Stop),
    ("hostagent.stop.after-grace", Way::StopByForce),
    ("request.after-taken", Way::Restart),
    ("restart.after-done", Way::Restart),
    ("template.after-lock", Way::Template),
    ("template.after-write", Way::Template),
    ("template.after-mark", Way::Template),
    ("delete.after-kill", Way::Delete),
    ("instance.delete.after-rename", Way::Delete),
    ("delete.after-files", Way::Delete),
    ("delete.after-copy-released", Way::Delete),
    ("delete.after-copy", Way::Delete),
    ("delete.after-finalizer", Way::Delete),
    ("reset.after-done", Way::Reset),
    ("svc.create.after-settings", Way::SvcCreate),
    ("svc.start.after-spawn", Way::SvcStart),
    ("daemon.after-lock", Way::SvcStart),
    ("daemon.after-store", Way::SvcStart),
    ("daemon.after-kubeconfig", Way::SvcStart),
    ("daemon.after-ready", Way::SvcStart),
    ("pki.after-write", Way::SvcStartWithoutCertificates),
    ("pki.after-key", Way::SvcStartWithoutCertificates),
    ("svc.stop.after-ask", Way::SvcStop),
    ("daemon.stop.after-controllers", Way::SvcStop),
    ("daemon.stop.after-store", Way::SvcStop),
    ("svc.delete.after-stop", Way::SvcDelete),
    ("qemu.destroy.after-kill", Way::SvcDelete),
    ("svc.delete.after-vms", Way::SvcDelete),
    ("svc.delete.after-short-dir", Way::SvcDelete),
    ("svc.delete.after-settings", Way::SvcDelete),
    ("svc.reset.after-vms", Way::SvcReset),
    // At a daemon's and a VM's start also here: `sequences::interrupted_writes_of_a_start_lose_nothing`.
    (
        "file.created",
        Way::Elsewhere("process/tests/contract/file.rs"),
    ),
    (
        "file.written",
        Way::Elsewhere("process/tests/contract/file.rs"),
    ),
    (
        "file.synced",
        Way::Elsewhere("process/tests/contract/file.rs"),
    ),
    (
        "file.renamed",
        Way::Elsewhere("process/tests/contract/file.rs"),
    ),
    (
        "svc.restart.after-stop",
        Way::Elsewhere("rdd/tests/cli/restart.rs"),
    ),
    // Over a `wsl.exe` that is a script: the real one needs Windows.
    (
        "wsl.after-import",
        Way::Elsewhere("driver/tests/wsl/main.rs"),
    ),
    ("wsl.after-mark", Way::Elsewhere("driver/tests/wsl/main.rs")),
    (
        "image.after-data",
        Way::Elsewhere("lima/tests/it/download.rs"),
    ),
    (
        "image.after-old-moved",
        Way::Elsewhere("lima/tests/it/images.rs"),
    ),
    (
        "image.after-published",
        Way::Elsewhere("lima/tests/it/images.rs"),
    ),
    (
        "review.work-moved",
        Way::Elsewhere("deep-review/tests/run/interrupted.rs"),
    ),
    (
        "review.planned",
        Way::Elsewhere("deep-review/tests/run/interrupted.rs"),
    ),
    (
        "review.recorded",
        Way::Elsewhere("deep-review/tests/run/interrupted.rs"),
    ),
    (
        "review.finished",
        Way::Elsewhere("deep-review/tests/run/interrupted.rs"),
    ),
];

/// The points of a sequence, in order.
fn points(way: Way) -> impl Iterator<Item = &'static str> {
    POINTS
        .iter()
        .filter(move |(_, of)| *of == way)
        .map(|(point, _)| *point)
}

/// Every point has a row, and every row a point.
#[test]
fn h24_every_crash_point_has_a_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut in_code = BTreeSet::new();
    let mut folders: Vec<_> = fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for call in text.split("crash::point(\"").skip(1) {
                    let name = call.split('"').next().unwrap();
                    assert!(
                        in_code.insert(name.to_owned()),
                        "{name} is there twice, the second time in {}",
                        path.display()
                    );
                }
            }
        }
    }
    let rows: BTreeSet<String> = POINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows.len(), POINTS.len(), "a row is there twice");
    let untested: Vec<_> = in_code.difference(&rows).collect();
    assert!(untested.is_empty(), "points without a row: {untested:?}");
    let gone: Vec<_> = rows.difference(&in_code).collect();
    assert!(gone.is_empty(), "rows without a point: {gone:?}");
    for (point, way) in POINTS {
        if let Way::Elsewhere(file) = way {
            let text = fs::read_to_string(crates.join(file)).unwrap();
            assert!(text.contains(point), "{file} does not name {point}");
        }
    }
}
