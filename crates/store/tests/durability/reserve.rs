//! A real small file system that becomes full: urgent writes use the reserve.

use std::fs;
use std::path::Path;
use std::process::Command;

use store::{Error, Expect, IndexedStore, Options, Store, Value, Write};
use tempfile::TempDir;

use crate::child;
use crate::history::{around, put, read};

/// The child's file system: the reserve of 8 MiB, a filler, and little else.
const SIZE: &str = "20m";
const FILLER_BYTES: usize = 4 * 1024 * 1024;

#[test]
fn h47_urgent_writes_succeed_on_a_full_disk() {
    let folder = TempDir::new().unwrap();
    let allowed = Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        testutils::skip(
            testutils::Need::Namespaces,
            "unshare --mount --map-root-user fails",
        );
        return;
    }
    let mount = format!("mount -t tmpfs -o size={SIZE} none \"$0\" && exec \"$@\"");
    let child = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &mount])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "reserve::writer", "--ignored", "--nocapture"])
        .envs(child::environment(
            "reserve",
            &folder.path().join("state.db"),
        ))
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}\n{errors}");
    assert!(output.contains("reserve used"), "{output}");
}

fn urgent(key: &str, expect: Expect, text: &str) -> Write {
    Write::Put {
        key: key.into(),
        expect,
        value: around(text),
        ttl: None,
        urgent: true,
    }
}

fn open(path: &Path) -> IndexedStore {
    let options = Options {
        retention: None,
        ..Options::default()
    };
    IndexedStore::sqlite(path, options).unwrap()
}

/// The child: fills the disk with ordinary writes, and goes on with urgent ones.
#[tokio::test]
#[ignore = "run by another test"]
async fn writer() {
    let Some((_, database)) = child::role() else {
        return;
    };
    let folder = database.parent().unwrap();
    let reserve = folder.join("state.db.reserve");
    let filler = folder.join("filler");
    let store = open(&database);
    fs::write(&filler, vec![1; FILLER_BYTES]).unwrap();
    let stop = put("stop-me", Expect::Absent, "running");
    let running = store.write(stop).await.unwrap();
    let reserved = fs::metadata(&reserve).unwrap().len();
    let large = "x".repeat(20_000);
    let mut written = Vec::new();
    let failure = loop {
        let key = format!("k{}", written.len());
        match store.write(put(&key, Expect::Absent, &large)).await {
            Ok(entry) => written.push(entry),
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, Error::Backend { .. }), "{failure}");
    assert!(failure.to_string().contains("full"), "{failure}");
    assert!(
        reserve.exists(),
        "an ordinary write does not use the reserve"
    );

    let stopped = urgent("stop-me", Expect::At(running.revision), "stopped");
    store.write(stopped).await.unwrap();
    // A small write may still fit without the reserve.
    while reserve.exists() {
        store.write(delete(&written.pop().unwrap())).await.unwrap();
    }
    // A backup would need the space that the urgent writes need.
    store.back_up().unwrap_err();
    let backups = fs::read_dir(folder.join("state.db.backups")).unwrap();
    assert_eq!(backups.count(), 0);
    // While the reserve is in use, ordinary writes stay refused, whatever space is left of it.
    let ordinary = store.write(put("ordinary", Expect::Absent, "x")).await;
    assert!(
        matches!(ordinary, Err(Error::Backend { .. })),
        "{ordinary:?}"
    );
    // Queued together with an urgent write, too.
    let (ordinary, deleted) = tokio::join!(
        store.write(put("ordinary", Expect::Absent, "x")),
        store.write(delete(&written.pop().unwrap()))
    );
    assert!(
        matches!(ordinary, Err(Error::Backend { .. })),
        "{ordinary:?}"
    );
    deleted.unwrap();
    for _ in 0..50 {
        store.write(delete(&written.pop().unwrap())).await.unwrap();
    }
    // A restart on the full disk.
    store.close().await;
    let store = open(&database);
    assert_eq!(store.opening().problems, [""; 0]);
    assert_eq!(store.count("k"), written.len());
    for _ in 0..10 {
        store.write(delete(&written.pop().unwrap())).await.unwrap();
    }

    // Another program frees space: the reserve is taken again, and ordinary writes work.
    fs::remove_file(&filler).unwrap();
    store.compact(store.revision()).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(error) = store.write(put("after", Expect::Absent, "x")).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(fs::metadata(&reserve).unwrap().len(), reserved);
    assert_eq!(
        read(&store).await.1.last().unwrap().1.split('=').next(),
        Some("+after")
    );
    store.close().await;
    child::report("reserve used", 0, "");
}

fn delete(entry: &store::Entry) -> Write {
    Write::Delete {
        key: entry.key.clone(),
        expect: Expect::At(entry.revision),
        last: Value::plain("last"),
    }
}
