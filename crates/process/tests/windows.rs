//! The part of the contract that exists on Windows only, run there or under Wine. `tests/contract.rs` has the part that
//! both systems share.
#![cfg(windows)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::spawn::Spawn;
use process::tree::{Tree, kill_tree};
use process::{Process, Signal, file};

const PATIENCE: Duration = Duration::from_secs(60);

/// FILE_SHARE_READ and FILE_SHARE_WRITE, without FILE_SHARE_DELETE: the share mode of most other programs.
const WITHOUT_DELETE: u32 = 0x1 | 0x2;

/// FILE_FLAG_BACKUP_SEMANTICS, without which a folder cannot be opened.
const BACKUP_SEMANTICS: u32 = 0x0200_0000;

fn hold(path: &Path) -> std::fs::File {
    OpenOptions::new()
        .read(true)
        .share_mode(WITHOUT_DELETE)
        .open(path)
        .unwrap()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn h42_a_file_that_a_reader_lets_go_of_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    file::write_atomic(&path, b"old", 0o600).unwrap();
    let reader = hold(&path);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| file::write_atomic(&path, b"new", 0o600));
        testutils::poll(PATIENCE, "the temporary file", || {
            let names = names(folder.path());
            if names.len() == 2 {
                Ok(())
            } else {
                Err(names.len())
            }
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        drop(reader);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(names(folder.path()), [path]);
}

/// A folder is open as long as a process has it as its working directory, such as a helper that is just ending.
#[test]
fn h42_a_folder_that_somebody_lets_go_of_is_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    let holder = OpenOptions::new()
        .read(true)
        .share_mode(WITHOUT_DELETE)
        .custom_flags(BACKUP_SEMANTICS)
        .open(&from)
        .unwrap();
    let (done, renamed) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| done.send(file::rename_folder(&from, &to)));
        // Long enough for the first attempt, which fails.
        let early = renamed.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err() && from.exists(), "{early:?}");
        drop(holder);
        renamed.recv_timeout(PATIENCE).unwrap().unwrap();
    });
    assert!(to.exists() && !from.exists());
}

#[test]
fn h42_a_file_that_stays_open_is_named_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in use");
    file::write_atomic(&path, b"old", 0o600).unwrap();
    let _reader = hold(&path);
    let error = file::write_atomic(&path, b"new", 0o600).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), [path]);
}

#[test]
fn h12_there_are_no_signals_and_the_error_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    // The program waits for its input, which stays open.
    let (input, _held) = std::io::pipe().unwrap();
    let input = std::os::windows::io::OwnedHandle::from(input);
    let child = Spawn::new("cmd.exe")
        .arg("/q")
        .cwd(folder.path())
        .stdin(input.into())
        .spawn()
        .unwrap();
    for signal in [Signal::Terminate, Signal::Interrupt, Signal::Stop] {
        let error = child.process().signal(signal).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("stop::ask"), "{source}");
    }
    // A process that has not made the event cannot be asked to stop.
    assert!(process::stop::ask(child.process()).is_err());
    assert!(child.process().is_running());
    // The identity alone is enough to kill the process, without the name of a job.
    let process = Process::open(child.identity()).unwrap().unwrap();
    kill_tree(&Tree::new(child.identity().clone(), None), Duration::ZERO).unwrap();
    assert!(process.wait(Instant::now() + PATIENCE).is_exited());
}
