//! Files: a write happens completely or not at all.

use process::{Exit, crash, file};

use crate::role::{new_content, run_as};
use crate::soon;

/// Returns whether the process died at a crash point.
fn was_killed(status: std::process::ExitStatus) -> bool {
    #[cfg(unix)]
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    // The exit code of a process that this crate kills: what a shell shows for SIGKILL.
    #[cfg(windows)]
    let killed = status.code() == Some(137);
    killed
}

#[test]
fn h24_write_killed_at_any_step_leaves_the_old_or_the_new_file() {
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
        assert!(was_killed(status), "{point}: {status}");
        let expected = if renamed {
            new_content()
        } else {
            b"old".to_vec()
        };
        assert_eq!(std::fs::read(&path).unwrap(), expected, "{point}");
        // The next start removes the left-over of the crash, and the write works again.
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
fn h42_reader_of_a_replaced_file_reads_its_old_content() {
    #[cfg(windows)]
    if testutils::differs_under_wine("a file that is open cannot be replaced") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    file::write_atomic(&path, b"old", 0o600).unwrap();
    let old = std::fs::File::open(&path).unwrap();
    file::write_atomic(&path, b"new", 0o600).unwrap();
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn crash_point_with_another_name_or_count_does_nothing() {
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
fn failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target");
    std::fs::create_dir_all(path.join("full")).unwrap();
    let error = file::write_atomic(&path, b"x", 0o600).unwrap_err();
    assert!(error.to_string().contains("target"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn new_file_with_an_old_name_is_a_different_file() {
    let folder = tempfile::tempdir().unwrap();
    let (name, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let old = std::fs::File::create(&name).unwrap();
    std::fs::rename(&name, &moved).unwrap();
    let new = std::fs::File::create(&name).unwrap();
    assert!(!file::is_same(&old, &new).unwrap());
    let opened = std::fs::File::open(&moved).unwrap();
    assert!(file::is_same(&old, &opened).unwrap());
}

#[test]
fn h14_left_overs_are_found_in_a_folder_with_an_awkward_name() {
    let folder = tempfile::tempdir().unwrap();
    // Windows allows neither `*` nor `?` in a name.
    let odd = folder.path().join(if cfg!(windows) {
        "a[1] b {é}"
    } else {
        "a[1] *b ?{é}"
    });
    file::create_private_dir(&odd).unwrap();
    for name in ["x.tmp", ".tmp", "[y].tmp", "keep.tmp.txt", "keep"] {
        std::fs::write(odd.join(name), "").unwrap();
    }
    std::fs::create_dir(odd.join("folder.tmp")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/nowhere", odd.join("dangling.tmp")).unwrap();
    assert_eq!(
        file::remove_temporaries(&odd).unwrap().len(),
        3 + usize::from(cfg!(unix))
    );
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
