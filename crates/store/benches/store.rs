//! Measures the store's promises: `cargo bench -p store`. Prints one figure a line, as `name value unit`.
//!
//! The measured disk is that of the temporary folder; set `TMPDIR` to choose another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how benches fail"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use store::{Event, Expect, IndexedStore, Options, Store, Value, Write};
use tempfile::TempDir;

const VALUE_BYTES: usize = 1024;
const CLIENTS: usize = 64;
const CREATES: usize = 30_000;
const WATCHERS: usize = 1000;
const NOTIFIED_WRITES: u64 = 300;
const OBJECTS: usize = 5000;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    // Runs this program again, because memory use and start time have to be those of a fresh process.
    if let [_, role, path] = &arguments[..]
        && role == "open"
    {
        return open(Path::new(path));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        probe_disk();
        for (name, clients) in [("1", 1), ("64", CLIENTS)] {
            creates(name, clients, CREATES * clients.clamp(8, CLIENTS) / CLIENTS).await;
        }
        notify().await;
        fill().await;
    });
}

#[expect(clippy::print_stdout, reason = "the program prints figures")]
fn report(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.2} {unit}");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The percentile of sorted values, by nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    milliseconds(sorted[(sorted.len() - 1) * percent / 100])
}

fn create(key: String) -> Write {
    Write::Put {
        key,
        expect: Expect::Absent,
        value: Value {
            before: vec![b'x'; VALUE_BYTES / 2].into(),
            after: Some(vec![b'y'; VALUE_BYTES / 2].into()),
        },
        ttl: None,
        urgent: false,
    }
}

/// Measures the disk alone, as a reference for the other figures.
fn probe_disk() {
    let mut file = tempfile::tempfile().unwrap();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    report("disk_sync_p50", percentile(&times, 50), "ms");
    report("disk_sync_p99", percentile(&times, 99), "ms");
}

async fn creates(name: &str, clients: usize, creates: usize) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let start = Instant::now();
    let store = Arc::new(IndexedStore::sqlite(&path, Options::default()).unwrap());
    if clients == 1 {
        report("store_create_database", milliseconds(start.elapsed()), "ms");
    }
    let each = creates / clients;
    let start = Instant::now();
    let tasks = (0..clients).map(|client| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(each);
            for n in 0..each {
                let start = Instant::now();
                let key = format!("/registry/secrets/default/s-{client:02}-{n:06}");
                store.write(create(key)).await.unwrap();
                times.push(start.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for client in join_all(tasks).await {
        times.extend(client.unwrap());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort();
    report(&format!("store_creates_{name}_clients"), rate, "1/s");
    let latency = percentile(&times, 99);
    report(&format!("store_creates_{name}_clients_p99"), latency, "ms");
    store.close().await;
}

/// The time from a commit (the first moment at which a client knows of it) until each watcher has the event.
async fn notify() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let store = Arc::new(IndexedStore::sqlite(&path, Options::default()).unwrap());
    let start = store.revision();
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let mut watch = store.watch("/registry/secrets/", start).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < NOTIFIED_WRITES as usize {
                    if let Event::Put { entry, .. } = watch.next().await.unwrap().unwrap() {
                        seen.push((entry.revision, Instant::now()));
                    }
                }
                seen
            })
        })
        .collect();
    let mut commits = Vec::new();
    // 200 writes a second, as in the promise of the API.
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    for n in 0..NOTIFIED_WRITES {
        pace.tick().await;
        let entry = store.write(create(format!("/registry/secrets/{n}"))).await;
        assert_eq!(entry.unwrap().revision, start + n + 1);
        commits.push(Instant::now());
    }
    let mut seen = Vec::new();
    for watcher in watchers {
        let events = watcher.await.unwrap();
        let revisions = events.iter().map(|(revision, _)| *revision);
        assert!(
            revisions.eq(start + 1..=start + NOTIFIED_WRITES),
            "none lost, none twice"
        );
        seen.push(events);
    }
    let mut times = Vec::new();
    for (n, acknowledged) in commits.iter().enumerate() {
        let first = seen.iter().map(|events| events[n].1).min().unwrap();
        let commit = first.min(*acknowledged);
        times.extend(seen.iter().map(|events| events[n].1 - commit));
    }
    times.sort();
    report(
        "store_notify_1000_watchers_p50",
        percentile(&times, 50),
        "ms",
    );
    report(
        "store_notify_1000_watchers_p99",
        percentile(&times, 99),
        "ms",
    );
    store.close().await;
}

async fn fill() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let store = IndexedStore::sqlite(&path, Options::default()).unwrap();
    let writes = (0..OBJECTS).map(|n| store.write(create(format!("/registry/secrets/{n:06}"))));
    for result in join_all(writes).await {
        result.unwrap();
    }
    store.close().await;
    let program = std::env::current_exe().unwrap();
    let status = Command::new(program).arg("open").arg(&path).status();
    assert!(status.unwrap().success());
}

fn open(path: &Path) {
    let before = resident();
    let start = Instant::now();
    let store = IndexedStore::sqlite(path, Options::default()).unwrap();
    report("store_open_5000", milliseconds(start.elapsed()), "ms");
    assert_eq!(store.count(""), OBJECTS);
    if let (Some(before), Some(after)) = (before, resident()) {
        report("store_open_5000_memory", after - before, "MiB");
    }
}

/// The resident memory of this process, in MiB.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
