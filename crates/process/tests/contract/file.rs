//! Whole or not at all.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use process::{Exit, crash, file};

use crate::role::{new_content, run_as};
use crate::soon;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn h24_killed_at_each_step_the_file_is_the_old_one_or_the_new_one() {
    let steps = [
        ("file.created", false),
        ("file.written", false),
        ("file.synced", false),
        ("file.renamed", true),
    ];
    for (point, renamed) in steps {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lima.yaml");
        file::write_atomic(&path, b"old", 0o600).unwrap();
        let mut child = run_as("write", &path)
            .env(crash::VARIABLE, point)
            .spawn()
            .unwrap();
        let Exit::Exited(Some(status)) = child.wait(soon()) else {
            panic!("{point}")
        };
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
        let expected = if renamed {
            new_content()
        } else {
            b"old".to_vec()
        };
        assert_eq!(std::fs::read(&path).unwrap(), expected, "{point}");
        // What the crash left is cleared by the next start, and the write works again.
        assert_eq!(
            file::remove_temporaries(folder.path()).unwrap().len(),
            usize::from(!renamed),
            "{point}"
        );
        file::write_atomic(&path, b"newer", 0o600).unwrap();
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "{point}"
        );
    }
}

#[test]
fn who_reads_the_old_file_reads_it_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    file::write_atomic(&path, b"old", 0o600).unwrap();
    let old = std::fs::File::open(&path).unwrap();
    file::write_atomic(&path, b"new", 0o600).unwrap();
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_crash_point_can_wait_for_its_turn_and_other_names_do_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for spec in ["file.written:2", "file", "file.written:0", ":", ""] {
        let path = folder.path().join("x");
        let mut child = run_as("write", &path)
            .env(crash::VARIABLE, spec)
            .spawn()
            .unwrap();
        assert!(
            matches!(child.wait(soon()), Exit::Exited(Some(status)) if status.success()),
            "{spec}"
        );
    }
}

#[test]
fn the_mode_is_what_was_asked_for_also_for_a_file_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "open to all").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    file::write_atomic(&path, b"secret", 0o600).unwrap();
    assert_eq!(mode(&path), 0o600);
    file::write_atomic(&path, b"public", 0o644).unwrap();
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target");
    std::fs::create_dir_all(path.join("full")).unwrap();
    let error = file::write_atomic(&path, b"x", 0o600).unwrap_err();
    assert!(error.to_string().contains("target"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn private_folders_are_private_and_those_above_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("above");
    std::fs::create_dir(&above).unwrap();
    std::fs::set_permissions(&above, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = above.join("a/b");
    file::create_private_dir(&path).unwrap();
    assert_eq!(
        (mode(&path), mode(&above.join("a")), mode(&above)),
        (0o700, 0o700, 0o755)
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    file::create_private_dir(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn h14_left_overs_are_found_whatever_the_folder_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a[1] *b ?{é}");
    file::create_private_dir(&odd).unwrap();
    for name in ["x.tmp", ".tmp", "[y].tmp", "keep.tmp.txt", "keep"] {
        std::fs::write(odd.join(name), "").unwrap();
    }
    std::fs::create_dir(odd.join("folder.tmp")).unwrap();
    std::os::unix::fs::symlink("/nowhere", odd.join("dangling.tmp")).unwrap();
    assert_eq!(file::remove_temporaries(&odd).unwrap().len(), 4);
    let mut left: Vec<_> = std::fs::read_dir(&odd)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["folder.tmp", "keep", "keep.tmp.txt"]);
    assert!(
        file::remove_temporaries(&odd.join("missing"))
            .unwrap()
            .is_empty()
    );
}
