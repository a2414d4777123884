//! No file can grow any more, and later they can again.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Error, Expect, Store};
use tempfile::TempDir;

use crate::child;
use crate::history::{line, open, put, read};

#[tokio::test]
async fn full_disk_fails_writes_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("state.db");
    let (mut process, mut output) = child::start("full_disk::writer", "fill", &database);
    let mut reported = Vec::new();
    while let Some((_, revision, text)) = child::next_report(&mut output) {
        reported.push((revision, text));
    }
    assert!(process.wait().unwrap().success());
    let store = open(&database);
    let (_, changes) = read(&store).await;
    assert_eq!(changes, reported, "exactly the acknowledged writes");
    store.close().await;
}

/// The child: writes until no file can grow any more, checks the reads, gets space, and continues.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn writer() {
    let Some((_, database)) = child::role() else {
        return;
    };
    let store = open(&database);
    let start = store.revision();
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(1024 * 1024),
            ..unlimited
        },
    )
    .unwrap();
    let large = "x".repeat(20_000);
    let mut written = 0;
    let failure = loop {
        let key = format!("k{written}");
        match store.write(put(&key, Expect::Absent, &large)).await {
            Ok(entry) => {
                child::report("wrote", entry.revision, &line('+', &entry));
                written += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(written > 10, "{written}: {failure}");
    assert!(matches!(failure, Error::Backend { .. }), "{failure}");
    let message = failure.to_string();
    assert!(message.contains("state.db"), "{message}");

    // Many concurrent writes of one key: none of them happens, and no caller receives a revision that does not
    // exist.
    let expectations = (0..20).map(|n| match n {
        0 | 1 => Expect::Absent,
        n => Expect::At(start + written + n - 1),
    });
    let writes = expectations.map(|expect| store.write(put("chain", expect, &large)));
    for result in futures::future::join_all(writes).await {
        match result {
            Err(Error::Backend { .. } | Error::Conflict { actual: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.revision(), start + written);
    assert!(store.get("chain").is_none());
    assert_eq!(read(&store).await.1.len() as u64, written);
    // A condition that does not hold is still reported as a conflict.
    let conflict = store.write(put("k0", Expect::Absent, "x")).await;
    assert!(matches!(
        conflict,
        Err(Error::Conflict {
            actual: Some(actual),
            ..
        }) if actual == start + 1
    ));

    setrlimit(Resource::Fsize, unlimited).unwrap();
    for n in 0..5 {
        let key = format!("after{n}");
        let entry = store
            .write(put(&key, Expect::Absent, "room"))
            .await
            .unwrap();
        assert_eq!(
            entry.revision,
            start + written + n + 1,
            "no revision is skipped or reused"
        );
        child::report("wrote", entry.revision, &line('+', &entry));
    }
    store.close().await;
}
