//! The disk is full, and then it is not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Error, Expect, Store};
use tempfile::TempDir;

use crate::child;
use crate::history::{line, open, put, read};

#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("state.db");
    let (mut process, mut output) = child::start("full_disk::writer", "fill", &database);
    let mut told = Vec::new();
    while let Some((_, revision, text)) = child::hear(&mut output) {
        told.push((revision, text));
    }
    assert!(process.wait().unwrap().success());
    let store = open(&database);
    let (_, changes) = read(&store).await;
    assert_eq!(changes, told, "what was acknowledged, and nothing else");
    store.close().await;
}

/// The child: writes until no file may grow any more, looks around, gets room, and goes on.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn writer() {
    let Some((_, database)) = child::role() else {
        return;
    };
    let store = open(&database);
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
                child::tell("wrote", entry.revision, &line('+', &entry));
                written += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(written > 10, "{written}: {failure}");
    assert!(matches!(failure, Error::Backend { .. }), "{failure}");
    let message = failure.to_string();
    assert!(message.contains("state.db"), "{message}");

    // Many at once, each of which depends on the one before, and one that only the first one could refuse: none
    // of them happened, and nobody is told of a revision that does not exist.
    let expectations = (0..20).map(|n| match n {
        0 | 1 => Expect::Absent,
        n => Expect::At(written + n - 1),
    });
    let writes = expectations.map(|expect| store.write(put("chain", expect, &large)));
    for result in futures::future::join_all(writes).await {
        match result {
            Err(Error::Backend { .. } | Error::Conflict { actual: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.revision(), written);
    assert!(store.get("chain").is_none());
    assert_eq!(read(&store).await.1.len() as u64, written);
    // A condition that does not hold is told as such even now.
    let conflict = store.write(put("k0", Expect::Absent, "x")).await;
    assert!(matches!(
        conflict,
        Err(Error::Conflict {
            actual: Some(1),
            ..
        })
    ));

    setrlimit(Resource::Fsize, unlimited).unwrap();
    for n in 0..5 {
        let key = format!("after{n}");
        let entry = store
            .write(put(&key, Expect::Absent, "room"))
            .await
            .unwrap();
        assert_eq!(entry.revision, written + n + 1, "no gap, nothing reissued");
        child::tell("wrote", entry.revision, &line('+', &entry));
    }
    store.close().await;
}
