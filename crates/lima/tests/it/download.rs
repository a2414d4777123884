//! Downloads into the cache from a real server.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lima::image::{Cache, Digest, EntryId, ImageError, Limits};
use lima::progress::{Cancel, Phase, Progress, Silent};
use sha2::Digest as _;

use crate::crash::{self, End};
use crate::http_server::{Manner, Server};

/// No test reaches it but on a machine that hangs.
const LONG: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits {
        stall: LONG,
        attempts: 3,
        pause: Duration::from_millis(5),
        ..Limits::default()
    }
}

fn cache(dir: &Path) -> Cache {
    Cache::new(dir.join("cache")).with_limits(limits())
}

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
        .parse()
        .unwrap()
}

fn get(cache: &Cache, url: &str, digest: Option<&Digest>) -> Result<Vec<u8>, ImageError> {
    let fetched = cache.fetch(url, digest, &Silent, &Cancel::new())?;
    Ok(std::fs::read(fetched.path()).unwrap())
}

/// Records the reports.
#[derive(Default)]
struct Reports {
    phases: Mutex<Vec<Phase>>,
    warnings: Mutex<Vec<String>>,
}

impl Progress for Reports {
    fn report(&self, phase: Phase, _: &str, _: u64, _: Option<u64>) {
        self.phases.lock().unwrap().push(phase);
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn a_file_is_downloaded_once_into_limas_layout() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, body) = (cache(dir.path()), body(1 << 20));
    let server = Server::start(&body, &[Manner::Good]);
    let (url, digest) = (server.url("x/debian-12-amd64.qcow2"), sha256(&body));
    for _ in 0..3 {
        assert_eq!(get(&cache, &url, Some(&digest)).unwrap(), body);
    }
    assert_eq!(server.requests(), 1);
    let key = hex::encode(sha2::Sha256::digest(url.as_bytes()));
    let entry = cache.dir().join("download/by-url-sha256").join(key);
    assert_eq!(std::fs::read_to_string(entry.join("url")).unwrap(), url);
    assert_eq!(std::fs::read(entry.join("data")).unwrap(), body);
    assert_eq!(
        std::fs::read_to_string(entry.join("type")).unwrap(),
        "application/x-qemu-disk"
    );

    let listed = cache.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, EntryId::Url(url.clone()));
    assert_eq!(listed[0].arch.unwrap().as_str(), "x86_64");
    assert!(
        listed[0].complete && listed[0].created.is_some() && listed[0].size >= 1 << 20,
        "{listed:?}"
    );
    cache.remove(&listed[0].id).unwrap();
    cache.remove(&listed[0].id).unwrap();
    assert_eq!(cache.list().unwrap(), []);
    assert_eq!(get(&cache, &url, Some(&digest)).unwrap(), body);
    assert_eq!(server.requests(), 2);
}

#[test]
fn cut_off_and_stalled_downloads_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than a busy machine keeps the server's thread waiting; the test waits for it once.
    let stall = Duration::from_secs(3);
    let cache = cache(dir.path()).with_limits(Limits { stall, ..limits() });
    let body = body(300_000);
    let manners = [
        Manner::CutAfter(100_000),
        Manner::Status(503),
        Manner::StallAfter(50_000),
        Manner::Good,
    ];
    let server = Server::start(&body, &manners);
    assert_eq!(
        get(&cache, &server.url("x"), Some(&sha256(&body))).unwrap(),
        body
    );
    let ranges = server.ranges();
    assert_eq!(
        ranges[..3],
        [
            None,
            Some("bytes=100000-".to_owned()),
            Some("bytes=100000-".to_owned())
        ]
    );
    assert_eq!(ranges[3], Some("bytes=150000-".to_owned()));
}

#[test]
fn another_process_resumes_a_partial_download() {
    let dir = tempfile::tempdir().unwrap();
    let body = body(200_000);
    let server = Server::start(
        &body,
        &[
            Manner::CutAfter(70_000),
            Manner::Status(500),
            Manner::Status(500),
            Manner::Status(500),
            Manner::Good,
        ],
    );
    let (url, digest) = (server.url("x"), sha256(&body));
    let error = get(&cache(dir.path()), &url, Some(&digest))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("3 attempts")
            && error.contains("70000 bytes so far")
            && error.contains("500"),
        "{error}"
    );
    let unfinished = cache(dir.path()).list().unwrap();
    assert_eq!(
        (unfinished[0].complete, &unfinished[0].id),
        (false, &EntryId::Url(url.clone()))
    );
    assert_eq!(get(&cache(dir.path()), &url, Some(&digest)).unwrap(), body);
    assert_eq!(server.ranges()[4], Some("bytes=70000-".to_owned()));
}

#[test]
fn a_file_that_changed_between_two_attempts_is_downloaded_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (
        body(100_000),
        body(90_000).into_iter().rev().collect::<Vec<_>>(),
    );
    let server = Server::start(
        &old,
        &[
            Manner::CutAfter(50_000),
            Manner::Status(500),
            Manner::Status(500),
            Manner::Status(500),
            Manner::Good,
        ],
    );
    let url = server.url("x");
    get(&cache(dir.path()), &url, Some(&sha256(&new))).unwrap_err();
    server.replace(&new, "\"v2\"");
    assert_eq!(
        get(&cache(dir.path()), &url, Some(&sha256(&new))).unwrap(),
        new
    );
}

#[test]
fn a_server_without_ranges_sends_the_whole_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let body = body(100_000);
    let server = Server::start(&body, &[Manner::CutAfter(50_000), Manner::Plain]);
    assert_eq!(
        get(&cache(dir.path()), &server.url("x"), Some(&sha256(&body))).unwrap(),
        body
    );
}

#[test]
fn a_wrong_digest_names_both_and_removes_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, body) = (cache(dir.path()), body(1000));
    let server = Server::start(&body, &[Manner::Good]);
    let wrong = sha256(b"other");
    let url = server.url("x");
    for _ in 0..2 {
        let error = get(&cache, &url, Some(&wrong)).unwrap_err().to_string();
        for part in [
            url.as_str(),
            &wrong.to_string(),
            &sha256(&body).to_string(),
            "removed",
            "correct",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
    assert!(!cache.list().unwrap().iter().any(|entry| entry.complete));
    assert_eq!(
        get(&cache, &url, Some(&sha256(&body))).unwrap(),
        body,
        "works once the cause is gone"
    );

    // The cached file is verified too, and downloaded again if it was damaged.
    let entry = cache.list().unwrap().remove(0);
    std::fs::write(entry.path.join("data"), b"damaged").unwrap();
    assert_eq!(get(&cache, &url, Some(&sha256(&body))).unwrap(), body);
}

#[test]
fn a_file_without_digest_is_requested_again_and_used_without_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, old, new) = (cache(dir.path()), body(1000), body(2000));
    let server = Server::start(&old, &[Manner::Good]);
    let url = server.url("x");
    let reported = Reports::default();
    let fetch = |reported: &Reports| {
        let fetched = cache.fetch(&url, None, reported, &Cancel::new()).unwrap();
        std::fs::read(fetched.path()).unwrap()
    };
    assert_eq!(fetch(&reported), old);
    assert!(reported.warnings.lock().unwrap()[0].contains("no digest"));
    assert_eq!(fetch(&reported), old);
    assert_eq!(server.requests(), 2, "asked whether it is still the same");
    server.replace(&new, "\"v2\"");
    assert_eq!(fetch(&reported), new);
    drop(server);
    assert_eq!(fetch(&reported), new);
    assert!(
        reported
            .warnings
            .lock()
            .unwrap()
            .last()
            .unwrap()
            .contains("earlier download")
    );
}

#[test]
fn a_missing_file_is_requested_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(b"", &[Manner::Status(404)]);
    let url = server.url("gone");
    let error = get(&cache(dir.path()), &url, None).unwrap_err().to_string();
    assert!(
        error.contains(&url)
            && error.contains("404")
            && error.contains("check the image's location"),
        "{error}"
    );
    assert_eq!(server.requests(), 1);
}

#[test]
fn h35_one_download_for_all_and_the_others_wait_with_progress() {
    let dir = tempfile::tempdir().unwrap();
    let body = body(100_000);
    let server = Server::start(&body, &[Manner::Hold]);
    let (url, digest) = (server.url("x"), sha256(&body));
    let reported = Reports::default();
    std::thread::scope(|scope| {
        let fetch = || {
            let fetched = cache(dir.path())
                .fetch(&url, Some(&digest), &reported, &Cancel::new())
                .unwrap();
            assert_eq!(std::fs::read(fetched.path()).unwrap(), body);
        };
        let threads = [scope.spawn(fetch), scope.spawn(fetch), scope.spawn(fetch)];
        let end = Instant::now() + Duration::from_secs(30);
        let idle = Cancel::new();
        while !reported.phases.lock().unwrap().contains(&Phase::Waiting) {
            assert!(Instant::now() < end, "no process reports that it waits");
            let _ = idle.wait(Duration::from_millis(5));
        }
        server.release();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_hanging_download_can_be_cancelled_and_keeps_the_partial_file() {
    /// Cancels once this many bytes have arrived.
    struct CancelAt(u64, Cancel);
    impl Progress for CancelAt {
        fn report(&self, phase: Phase, _: &str, done: u64, _: Option<u64>) {
            if phase == Phase::Downloading && done >= self.0 {
                self.1.cancel();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let body = body(100_000);
    let server = Server::start(&body, &[Manner::StallAfter(40_000), Manner::Good]);
    let (url, digest) = (server.url("x"), sha256(&body));
    // The stall limit is longer than the test's, so only the cancel ends the read.
    let patient = Limits {
        stall: Duration::from_secs(3600),
        ..limits()
    };
    let cancel = Cancel::new();
    let canceller = cancel.clone();
    let partial = dir.path().join("cache/download/by-url-sha256");
    let watcher = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(30);
        let idle = Cancel::new();
        let arrived = |entry: std::fs::DirEntry| {
            std::fs::metadata(entry.path().join("data.partial")).map_or(0, |m| m.len())
        };
        while std::fs::read_dir(&partial).map_or(0, |mut entries| {
            entries.next().map_or(0, |e| arrived(e.unwrap()))
        }) < 40_000
        {
            assert!(Instant::now() < end, "nothing arrives");
            let _ = idle.wait(Duration::from_millis(5));
        }
        canceller.cancel();
    });
    let slow = Cache::new(dir.path().join("cache")).with_limits(patient);
    let error = slow
        .fetch(&url, Some(&digest), &Silent, &cancel)
        .unwrap_err();
    assert!(matches!(error, ImageError::Cancelled { .. }), "{error}");
    watcher.join().unwrap();
    assert_eq!(get(&cache(dir.path()), &url, Some(&digest)).unwrap(), body);
    assert_eq!(server.ranges()[1], Some("bytes=40000-".to_owned()));

    let early = Cancel::new();
    let error = cache(dir.path())
        .fetch(
            &server.url("y"),
            Some(&digest),
            &CancelAt(0, early.clone()),
            &early,
        )
        .unwrap_err();
    assert!(matches!(error, ImageError::Cancelled { .. }), "{error}");
}

#[test]
fn https_is_used_and_a_server_without_it_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(b"x", &[Manner::Good]);
    let url = server.url("x").replace("http:", "https:");
    let error = get(&cache(dir.path()), &url, None).unwrap_err();
    assert!(matches!(error, ImageError::Network { .. }), "{error}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn fetch_in_a_child() {
    let Some(folder) = crash::folder() else {
        return;
    };
    let url = std::fs::read_to_string(folder.join("url")).unwrap();
    get(&cache(&folder), &url, None).unwrap();
}

#[test]
fn a_killed_finish_leaves_no_old_validators_with_new_data() {
    for point in ["image.after-data", "file.written:3", "file.synced:4"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(b"old", &[Manner::Good]);
        let url = server.url("x");
        std::fs::write(dir.path().join("url"), &url).unwrap();
        assert_eq!(get(&cache(dir.path()), &url, None).unwrap(), b"old");
        server.replace(b"new data", "\"v2\"");
        assert_eq!(
            crash::run("download::fetch_in_a_child", dir.path(), point),
            End::Killed,
            "{point}"
        );
        assert_eq!(
            get(&cache(dir.path()), &url, None).unwrap(),
            b"new data",
            "{point}"
        );
        server.replace(b"old", "\"v1\"");
        assert_eq!(
            get(&cache(dir.path()), &url, None).unwrap(),
            b"old",
            "{point}"
        );
    }
}

#[test]
fn plain_http_without_a_digest_is_refused_before_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let error = get(&cache(dir.path()), "http://images.example/disk.qcow2", None).unwrap_err();
    assert!(matches!(error, ImageError::MissingDigest { .. }), "{error}");
    assert!(error.to_string().contains("digest: sha256:"), "{error}");
    assert!(!dir.path().join("cache").exists());
}
