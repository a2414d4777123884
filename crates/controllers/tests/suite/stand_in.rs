//! A hostagent without a machine: holds `ha.lock`, answers on `ha.sock`, boots in no time, stops when asked.
//!
//! The test program starts itself again as this (`support.rs` has the command line). Files in the VM's folder make it
//! misbehave: `no-luck` (ends at once with an error), `deaf` (accepts a stop and ignores it).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostagent::status::{Event, GuestStatus, Info, LimaStatus, Phase};
use lima::layout::InstanceDir;
use process::{FileLock, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// A stand-in whose folder is gone belongs to a test that has failed.
const ORPHANED: Duration = Duration::from_millis(200);

#[test]
#[ignore = "not a test: the process that stands in for a hostagent"]
fn hostagent() {
    let dir = std::env::args()
        .skip_while(|arg| arg != "--dir")
        .nth(1)
        .map(PathBuf::from)
        .expect("--dir FOLDER");
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let dir = InstanceDir::at(dir, name);
    let _lock = FileLock::try_acquire(&dir.ha_lock(), "stand-in")
        .unwrap()
        .expect("the lock is free");
    let mut starts = std::fs::read_to_string(dir.path().join("starts")).unwrap_or_default();
    starts.push_str("start\n");
    std::fs::write(dir.path().join("starts"), starts).unwrap();
    if dir.path().join("no-luck").exists() {
        panic!("\nError: out of luck");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(&dir));
    let _ = std::fs::remove_file(dir.ha_sock());
}

async fn serve(dir: &InstanceDir) {
    let _ = std::fs::remove_file(dir.ha_sock());
    let listener = UnixListener::bind(dir.ha_sock()).unwrap();
    let phase = Arc::new(watch::Sender::new(Phase::Booting));
    let mut gone = phase.subscribe();
    tokio::spawn({
        let phase = phase.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            phase.send_if_modified(|phase| {
                let boots = *phase == Phase::Booting;
                if boots {
                    *phase = Phase::Running;
                }
                boots
            });
        }
    });
    let mut orphaned = tokio::time::interval(ORPHANED);
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                tokio::spawn(answer(stream, dir.clone(), phase.clone()));
            }
            _ = gone.wait_for(|phase| *phase == Phase::Exiting) => return,
            _ = orphaned.tick() => if !dir.path().exists() { return },
        }
    }
}

async fn answer(mut stream: UnixStream, dir: InstanceDir, phase: Arc<watch::Sender<Phase>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    if request.starts_with("GET /v1/info") {
        let body = serde_json::to_string(&info(&dir, *phase.borrow())).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
    } else if request.starts_with("GET /v1/events") {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .await;
        let mut phases = phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let status = LimaStatus::of(phase, &[], 60022);
            let event = Event {
                time: "2026-01-01T00:00:00Z".into(),
                status,
                phase: Some(phase),
                reason: None,
                stages: Vec::new(),
            };
            let line = serde_json::to_string(&event).unwrap() + "\n";
            if stream.write_all(line.as_bytes()).await.is_err() || phases.changed().await.is_err() {
                return;
            }
        }
    } else if request.starts_with("POST /v1/stop") {
        let _ = stream
            .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        if dir.path().join("deaf").exists() {
            return;
        }
        phase.send_replace(Phase::Stopping);
        tokio::time::sleep(Duration::from_millis(20)).await;
        phase.send_replace(Phase::Exiting);
    }
}

fn info(dir: &InstanceDir, phase: Phase) -> Info {
    Info {
        ssh_local_port: 60022,
        name: dir.name().into(),
        phase,
        errors: Vec::new(),
        hostagent: Identity::of_current().unwrap(),
        hostagent_started_at: Some(1_700_000_000),
        qemu: None,
        run_status: None,
        adopted: false,
        accelerator: None,
        accelerator_warning: None,
        started_at: Some(1),
        ready_at: None,
        boot_count: 1,
        guest: GuestStatus::default(),
        stages: Vec::new(),
        notes: Vec::new(),
    }
}
