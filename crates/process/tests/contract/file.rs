//! Whole or not at all.

use process::{Exit, crash, file};

use crate::role::{new_content, run_as};
use crate::soon;

/// Whether it died at a crash point.
fn was_killed(status: std::process::ExitStatus) -> bool {
    #[cfg(unix)]
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    // The exit code with which this crate kills: what a shell shows for SIGKILL.
    #[cfg(windows)]
    let killed = status.code() == Some(137);
    killed
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
        assert!(was_killed(status), "{point}: {status}");
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
fn h42_who_reads_the_old_file_reads_it_to_its_end() {
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
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target");
    std::fs::create_dir_all(path.join("full")).unwrap();
    let error = file::write_atomic(&path, b"x", 0o600).unwrap_err();
    assert!(error.to_string().contains("target"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_new_file_of_an_old_name_is_another_one() {
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
fn h14_left_overs_are_found_whatever_the_folder_is_called() {
    let folder = tempfile::tempdir().unwrap();
    // Windows allows neither of the two in a name.
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
