//! Hazards 36–38. On Windows some states do not exist: a mode cannot take a file from its owner, a link needs a privilege,
//! and ssh-keygen may be missing.

#[cfg(unix)]
use std::fs::Permissions;
#[cfg(unix)]
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;

use lima::keys;
#[cfg(unix)]
use lima::keys::KeyError;

use crate::crash::{self, End};

/// The states of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Absent,
    Valid,
    Others,
    Corrupt,
    Empty,
    #[cfg(unix)]
    Unreadable,
    Folder,
    #[cfg(unix)]
    Dangling,
}

const ALL: &[Is] = &[
    Is::Absent,
    Is::Valid,
    Is::Others,
    Is::Corrupt,
    Is::Empty,
    #[cfg(unix)]
    Is::Unreadable,
    Is::Folder,
    #[cfg(unix)]
    Is::Dangling,
];

struct Pair {
    private: String,
    public: String,
}

fn make_pair() -> Pair {
    let dir = tempfile::tempdir().unwrap();
    let made = keys::ensure(dir.path()).unwrap();
    Pair {
        private: std::fs::read_to_string(made.private).unwrap(),
        public: std::fs::read_to_string(made.public).unwrap(),
    }
}

fn put(path: &Path, is: Is, valid: &str, others: &str) {
    match is {
        Is::Absent => {}
        Is::Valid => std::fs::write(path, valid).unwrap(),
        Is::Others => std::fs::write(path, others).unwrap(),
        Is::Corrupt => std::fs::write(path, &valid[..valid.len() / 2]).unwrap(),
        Is::Empty => std::fs::write(path, "").unwrap(),
        #[cfg(unix)]
        Is::Unreadable => {
            std::fs::write(path, valid).unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
        }
        Is::Folder => std::fs::create_dir(path).unwrap(),
        #[cfg(unix)]
        Is::Dangling => symlink("/no/such/file", path).unwrap(),
    }
}

/// Returns the texts of all regular files in the folder, also of unreadable ones.
fn texts(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.symlink_metadata().unwrap().is_file())
        .map(|path| String::from_utf8_lossy(&read_whatever_its_mode(&path)).into_owned())
        .collect()
}

#[cfg(unix)]
fn read_whatever_its_mode(path: &Path) -> Vec<u8> {
    let mode = path.metadata().unwrap().permissions();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    let bytes = std::fs::read(path).unwrap();
    std::fs::set_permissions(path, mode).unwrap();
    bytes
}

#[cfg(windows)]
fn read_whatever_its_mode(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Whether a state contains a usable key.
fn is_readable(is: Is) -> bool {
    #[cfg(unix)]
    if is == Is::Unreadable {
        return true;
    }
    is == Is::Valid
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// Checks nothing on Windows. The same code is checked on Unix.
#[cfg(windows)]
fn check_with_ssh_keygen(private: &Path, line: &str) {
    assert!(private.is_file() && line.starts_with("ssh-ed25519 "));
}

/// Checks that ssh-keygen accepts the pair.
#[cfg(unix)]
fn check_with_ssh_keygen(private: &Path, line: &str) {
    let output = Command::new("ssh-keygen")
        .arg("-y")
        .arg("-f")
        .arg(private)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let derived = String::from_utf8(output.stdout).unwrap();
    let words = |text: &str| {
        text.split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&derived), words(line));
}

/// Tries all 8 × 8 × 8 × 8 states of the two files and their temporaries (on Windows 6 × 6 × 6 × 6).
#[test]
fn h36_h37_h38_every_state_ends_with_a_valid_pair_and_loses_no_key() {
    let (ours, others) = (make_pair(), make_pair());
    for &private in ALL {
        for &public in ALL {
            for &private_tmp in ALL {
                for &public_tmp in ALL {
                    let state = format!("{private:?} {public:?} {private_tmp:?} {public_tmp:?}");
                    let dir = tempfile::tempdir().unwrap();
                    let at = |name: &str| dir.path().join(name);
                    put(&at("user"), private, &ours.private, &others.private);
                    put(&at("user.pub"), public, &ours.public, &others.public);
                    put(&at("user.tmp"), private_tmp, &ours.private, &others.private);
                    put(
                        &at("user.pub.tmp"),
                        public_tmp,
                        &ours.public,
                        &others.public,
                    );
                    let before = texts(dir.path());

                    let made =
                        keys::ensure(dir.path()).unwrap_or_else(|error| panic!("{state}: {error}"));
                    let text = std::fs::read_to_string(&made.private).unwrap();
                    let kept = match private {
                        is if is_readable(is) => Some(&ours.private),
                        Is::Others => Some(&others.private),
                        _ => match private_tmp {
                            is if is_readable(is) => Some(&ours.private),
                            Is::Others => Some(&others.private),
                            _ => None,
                        },
                    };
                    match kept {
                        Some(key) => assert_eq!(&text, key, "{state}"),
                        None => assert!(text != ours.private && text != others.private, "{state}"),
                    }
                    let public_text = std::fs::read_to_string(&made.public).unwrap();
                    assert_eq!(public_text.trim(), made.authorized_key, "{state}");
                    #[cfg(unix)]
                    for path in [&made.private, &made.public] {
                        assert_eq!(
                            path.metadata().unwrap().permissions().mode() & 0o777,
                            0o600,
                            "{state}"
                        );
                    }
                    // Every text is still in some file.
                    let after = texts(dir.path());
                    for text in before.iter().filter(|text| !text.is_empty()) {
                        assert!(after.contains(text), "{state}: lost {text:?}");
                    }
                    assert!(
                        !at("user.tmp").exists() && !at("user.pub.tmp").exists(),
                        "{state}"
                    );

                    let files = count(dir.path());
                    assert_eq!(
                        keys::ensure(dir.path()).unwrap(),
                        made,
                        "{state}: not stable"
                    );
                    assert_eq!(
                        count(dir.path()),
                        files,
                        "{state}: moved something aside again"
                    );
                }
            }
        }
    }
}

/// Windows allows no star in a name.
const AWKWARD: &str = if cfg!(windows) {
    "a [1] b/_config"
} else {
    "a [1]* b/_config"
};

#[test]
fn ssh_accepts_a_new_pair() {
    let dir = tempfile::tempdir().unwrap();
    let made = keys::ensure(&dir.path().join(AWKWARD)).unwrap();
    check_with_ssh_keygen(&made.private, &made.authorized_key);
    assert!(
        made.authorized_key.starts_with("ssh-ed25519 ") && made.authorized_key.ends_with(" lima")
    );
    #[cfg(unix)]
    let folder = made.private.parent().unwrap();
    #[cfg(unix)]
    assert_eq!(
        folder.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[cfg(unix)]
#[test]
fn keys_of_ssh_keygen_are_kept() {
    for arguments in [
        vec!["-t", "ed25519"],
        vec!["-t", "rsa", "-b", "2048"],
        vec!["-t", "ecdsa"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user");
        let status = Command::new("ssh-keygen")
            .args(&arguments)
            .args(["-q", "-N", "", "-C", "me", "-f"])
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        let (private, public) = (
            std::fs::read(&path).unwrap(),
            std::fs::read_to_string(dir.path().join("user.pub")).unwrap(),
        );
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let made = keys::ensure(dir.path()).unwrap();
        assert_eq!(made.authorized_key, public.trim(), "{arguments:?}");
        std::fs::remove_file(dir.path().join("user.pub")).unwrap();
        assert_eq!(
            keys::ensure(dir.path()).unwrap().authorized_key,
            public.trim(),
            "{arguments:?}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), private);
        check_with_ssh_keygen(&path, &made.authorized_key);
    }
}

#[cfg(unix)]
#[test]
fn h38_encrypted_and_foreign_keys_stay_and_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user");
    let run = |arguments: &[&str]| {
        assert!(
            Command::new("ssh-keygen")
                .args(arguments)
                .arg("-f")
                .arg(&path)
                .output()
                .unwrap()
                .status
                .success()
        );
    };
    run(&["-t", "ed25519", "-q", "-N", "secret"]);
    let before = std::fs::read(&path).unwrap();
    let error = keys::ensure(dir.path()).unwrap_err();
    assert!(matches!(error, KeyError::Encrypted { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(path.to_str().unwrap()) && message.contains("ssh-keygen -p -f"),
        "{message}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    run(&["-p", "-P", "secret", "-N", ""]);
    keys::ensure(dir.path()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user");
    let status = Command::new("ssh-keygen")
        .args(["-t", "rsa", "-b", "2048", "-m", "PEM", "-q", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(status.unwrap().success());
    let error = keys::ensure(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("RSA PRIVATE KEY") && error.contains("ssh-keygen -p"),
        "{error}"
    );
    assert!(path.exists());
}

#[cfg(unix)]
#[test]
fn a_pipe_a_link_and_a_huge_file_do_not_block() {
    let ours = make_pair();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    keys::ensure(dir.path()).unwrap();
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    keys::ensure(dir.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink("user", &path).unwrap();
    keys::ensure(dir.path()).unwrap();
    // A link to a key in another folder is the user's choice.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, &ours.private).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(
        keys::ensure(dir.path()).unwrap().authorized_key,
        ours.public.trim()
    );
    assert!(path.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn h35_many_at_once_get_one_pair() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| keys::ensure(dir.path()).unwrap().authorized_key))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(lines.iter().all(|line| *line == lines[0]));
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("_config");
    std::fs::write(&path, "x").unwrap();
    let error = keys::ensure(&path).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn ensure_in_a_child() {
    if let Some(folder) = crash::folder() {
        keys::ensure(&folder).unwrap();
    }
}

/// Kills the process after each step of the write path, from each state that leads to a write.
#[test]
fn h38_killed_at_each_step_the_next_call_gets_a_pair_and_keeps_the_key() {
    let ours = make_pair();
    let points = [
        "file.created",
        "file.written",
        "file.synced",
        "file.renamed",
        "keys.after-private",
        "keys.after-aside",
        "keys.after-public",
        "file.created:2",
        "file.written:2",
        "file.synced:2",
        "file.renamed:2",
    ];
    let mut killed = 0;
    for point in points {
        for (private, public) in [
            (Is::Absent, Is::Absent),
            (Is::Valid, Is::Absent),
            (Is::Valid, Is::Corrupt),
            (Is::Corrupt, Is::Corrupt),
        ] {
            let dir = tempfile::tempdir().unwrap();
            put(&dir.path().join("user"), private, &ours.private, "");
            put(&dir.path().join("user.pub"), public, &ours.public, "");
            let before = texts(dir.path());
            killed += usize::from(
                crash::run("keys::ensure_in_a_child", dir.path(), point) == End::Killed,
            );
            let survivor = read_valid(&dir.path().join("user"));
            let made = keys::ensure(dir.path()).unwrap();
            let text = std::fs::read_to_string(&made.private).unwrap();
            if let Some(survivor) = survivor {
                assert_eq!(text, survivor, "{point} {private:?} {public:?}");
            }
            let after = texts(dir.path());
            assert!(
                before.iter().all(|text| after.contains(text)),
                "{point} {private:?} {public:?}"
            );
            check_with_ssh_keygen(&made.private, &made.authorized_key);
        }
    }
    assert!(
        killed >= 20,
        "only {killed} of the calls died: the points are not reached"
    );
}

fn read_valid(path: &PathBuf) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.trim_end()
        .ends_with("-----END OPENSSH PRIVATE KEY-----")
        .then_some(text)
}
