//! File locks: one holder at a time, which is named, and a release when the holder ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use process::lock::{self, Holder, LockError};
use process::spawn::{Child, Start};
use process::tree::kill_tree;
use process::{FileLock, Process};
use testutils::Bystander;

use crate::role::{READY, run_as};
use crate::{ready, sleeper, soon};

#[test]
fn h16_h34_held_lock_names_its_holder_and_is_released_when_the_holder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ha.lock");
    let (mut child, word) = ready(run_as("hold", &path));
    assert_eq!(word, "mine");

    assert!(FileLock::try_acquire(&path, "me").unwrap().is_none());
    let Holder::Held(Some(info)) = lock::holder(&path).unwrap() else {
        panic!("the lock is not held by a known process")
    };
    assert_eq!(
        (&info.identity, info.label.as_str()),
        (child.identity(), "the holder")
    );
    assert_eq!(info.mark, child.tree().mark);
    let error = FileLock::acquire(&path, "me", Instant::now()).unwrap_err();
    assert!(matches!(&error, LockError::TimedOut { .. }));
    let pid = child.identity().pid();
    assert!(
        error
            .to_string()
            .contains(&format!("the holder (PID {pid})")),
        "{error}"
    );

    let holder = Process::open(&info.identity).unwrap().unwrap();
    holder.signal(process::Signal::Kill).unwrap();
    assert!(child.wait(soon()).is_exited());
    // The text of the dead holder is still in the file, and does not count.
    assert!(!std::fs::read_to_string(&path).unwrap().is_empty());
    assert_eq!(lock::holder(&path).unwrap(), Holder::Free);
    let mine = FileLock::try_acquire(&path, "me").unwrap().unwrap();
    #[cfg(unix)]
    assert_eq!(crate::unix::mode(&path), 0o600);
    drop(mine);
    assert!(path.exists());
}

#[test]
fn h34_concurrent_starts_give_the_lock_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rdd.lock");
    let mut children: Vec<Child> = (0..20)
        .map(|_| run_as("hold", &path).readiness(READY).spawn().unwrap())
        .collect();
    let mut words: Vec<String> = Vec::new();
    for child in &mut children {
        match child.readiness().unwrap().wait(soon()) {
            Start::Ready(word) => words.push(word),
            other => panic!("{other:?}"),
        }
        // A query of the holder makes no other process's attempt fail.
        lock::holder(&path).unwrap();
    }
    for child in &children {
        kill_tree(&child.tree(), Duration::ZERO).unwrap();
    }
    assert_eq!(
        words.iter().filter(|word| *word == "mine").count(),
        1,
        "{words:?}"
    );
}

#[test]
fn h06_text_of_a_lock_file_does_not_hold_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ha.lock");
    let bystander = Bystander::new();
    let mut forged = serde_json::to_value(bystander.identity()).unwrap();
    forged["label"] = "hostagent".into();
    for text in [
        forged.to_string(),
        bystander.pid().to_string(),
        "0".into(),
        "-1".into(),
        "{".into(),
        String::new(),
    ] {
        std::fs::write(&path, &text).unwrap();
        assert_eq!(lock::holder(&path).unwrap(), Holder::Free, "{text}");
        let mine = FileLock::try_acquire(&path, "me").unwrap().unwrap();
        // The lock is held, and another program overwrites the text.
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(lock::holder(&path).unwrap(), Holder::Held(None), "{text}");
        drop(mine);
    }
    bystander.assert_untouched();
}

#[test]
fn lock_of_a_replaced_file_is_taken_on_the_new_file() {
    #[cfg(windows)]
    if testutils::differs_under_wine(
        "a removed file's name is free only when no process has it open",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let old = FileLock::try_acquire(&path, "old").unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
    let new = FileLock::try_acquire(&path, "new").unwrap().unwrap();
    assert!(FileLock::try_acquire(&path, "third").unwrap().is_none());
    drop(old);
    assert!(FileLock::try_acquire(&path, "third").unwrap().is_none());
    drop(new);
    assert!(FileLock::try_acquire(&path, "third").unwrap().is_some());
}

#[test]
fn holder_that_removes_the_file_never_causes_two_holders() {
    #[cfg(windows)]
    if testutils::differs_under_wine(
        "a removed file's name is free only when no process has it open",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut taken = 0;
                while taken < 200 {
                    let Some(lock) = FileLock::try_acquire(&path, "me").unwrap() else {
                        continue;
                    };
                    assert_eq!(
                        inside.fetch_add(1, Ordering::SeqCst),
                        0,
                        "two threads hold the lock"
                    );
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    std::fs::remove_file(&path).unwrap();
                    drop(lock);
                    taken += 1;
                }
            });
        }
    });
}

#[test]
fn child_does_not_inherit_locks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let lock = FileLock::try_acquire(&path, "me").unwrap().unwrap();
    let child = sleeper();
    drop(lock);
    assert!(FileLock::try_acquire(&path, "again").unwrap().is_some());
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
}

#[tokio::test]
async fn waiting_caller_gets_the_lock_when_the_holder_releases_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let lock = FileLock::try_acquire(&path, "me").unwrap().unwrap();
    let waiting = FileLock::acquire_async(&path, "next", soon());
    let (next, ()) = tokio::join!(waiting, async { drop(lock) });
    assert_eq!(next.unwrap().path(), path);
}

#[test]
fn lock_that_cannot_be_made_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/x.lock");
    let error = FileLock::try_acquire(&path, "me").unwrap_err().to_string();
    assert!(error.contains("missing/x.lock"), "{error}");
    assert_eq!(lock::holder(&path).unwrap(), Holder::Free);
    // Only the owner of a private folder can make links in it. On Windows, making a link needs a privilege.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(FileLock::try_acquire(&folder.path().join("link"), "me").is_err());
    }
}
