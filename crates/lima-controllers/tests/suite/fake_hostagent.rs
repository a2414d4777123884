//! A fake hostagent without a machine: it holds `ha.lock`, answers on `ha.sock`, logs its events, boots immediately and
//! stops when asked.
//!
//! The test program starts itself again in this role (`support.rs` has the command line). Files in the VM's folder make it
//! misbehave; those in *italics* also while it runs:
//! - `lockless`: does not take its lock until the file is removed; writes its identity to `hung`;
//! - `no-luck`: ends at once with an error, like a template that cannot boot;
//! - `unbound`: does not listen until the file is removed, like a hostagent that is slow to start;
//! - *`boots`*: is not up before the file is removed;
//! - *`deaf`*: accepts a stop and ignores it;
//! - *`lingers`*: reports that it stops, and does not;
//! - *`mute`*: accepts connections and does not answer, like a hostagent that hangs;
//! - *`degraded`*: reports that no login works, for the reason in the file;
//! - *`crashes`*: its machine ends by itself, with the file's text as the cause.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostagent::status::{Event, GuestStatus, Info, LimaStatus, Phase, Stage, StageName};
use lima::layout::InstanceDir;
use process::{FileLock, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::support::LONG;

/// Between two looks at the folder: for misbehaviour, and for its removal, which means that the test has failed.
const LOOK: Duration = Duration::from_millis(20);

/// The ssh port that every fake reports.
pub(crate) const PORT: u16 = 60022;
/// The warning about the accelerator that every fake reports.
pub(crate) const SLOW: &str = "the VM is emulated, which is slow";

#[test]
#[ignore = "run by another test, in a process of its own"]
fn hostagent() {
    let dir = std::env::args()
        .skip_while(|arg| arg != "--dir")
        .nth(1)
        .map(PathBuf::from)
        .expect("--dir FOLDER");
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let dir = InstanceDir::at(dir, name);
    if dir.path().join("lockless").exists() {
        let identity = serde_json::to_string(&Identity::of_current().unwrap()).unwrap();
        std::fs::write(dir.path().join("hung"), identity).unwrap();
        // Longer than the test waits for its end.
        testutils::poll(4 * LONG, "it may take its lock", || {
            match dir.path().join("lockless").exists() {
                true => Err("not yet"),
                false => Ok(()),
            }
        });
    }
    let _lock = FileLock::try_acquire(&dir.ha_lock(), "fake hostagent")
        .unwrap()
        .expect("the lock is free");
    let mut starts = std::fs::read_to_string(dir.path().join("starts")).unwrap_or_default();
    starts.push_str("start\n");
    std::fs::write(dir.path().join("starts"), starts).unwrap();
    if dir.path().join("no-luck").exists() {
        panic!("\nError: out of luck");
    }
    testutils::poll(LONG, "it may listen", || {
        match dir.path().join("unbound").exists() {
            true => Err("not yet"),
            false => Ok(()),
        }
    });
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
    let state = Arc::new(watch::Sender::new(State {
        phase: Phase::Booting,
        errors: Vec::new(),
        stages: Vec::new(),
    }));
    let mut gone = state.subscribe();
    enter(&state, dir, Phase::Booting, None);
    let mut look = tokio::time::interval(LOOK);
    // The first tick is immediate, which would be too fast for a boot.
    look.tick().await;
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                tokio::spawn(answer(stream, dir.clone(), state.clone()));
            }
            _ = gone.wait_for(|state| state.phase == Phase::Exiting) => return,
            _ = look.tick() => {
                let has = |name: &str| dir.path().join(name).exists();
                let phase = state.borrow().phase;
                if let Ok(cause) = std::fs::read_to_string(dir.path().join("crashes")) {
                    let _ = std::fs::remove_file(dir.path().join("crashes"));
                    enter(&state, dir, Phase::Exiting, Some(cause));
                } else if phase == Phase::Booting && !has("boots") {
                    enter(&state, dir, Phase::Running, None);
                }
                let sick = std::fs::read_to_string(dir.path().join("degraded")).ok();
                match (phase, sick) {
                    (Phase::Running, Some(why)) => {
                        enter(&state, dir, Phase::Degraded, Some(why));
                    }
                    (Phase::Degraded, None) => enter(&state, dir, Phase::Running, None),
                    _ => {}
                }
                // This file is gone even from a folder that a failed test could not remove completely.
                if !dir.lima_yaml().exists() {
                    return;
                }
            }
        }
    }
}

#[derive(Clone)]
struct State {
    phase: Phase,
    errors: Vec<String>,
    stages: Vec<Stage>,
}

/// Enters a phase, sends the event and logs it.
fn enter(state: &watch::Sender<State>, dir: &InstanceDir, phase: Phase, error: Option<String>) {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    state.send_modify(|state| {
        state.phase = phase;
        state.errors = error.into_iter().collect();
        if let Some(open) = state.stages.last_mut() {
            open.millis
                .get_or_insert(now.saturating_sub(open.started_at_millis));
        }
        let name = match phase {
            Phase::Booting => StageName::Booting,
            Phase::Stopping => StageName::Stopping,
            _ => return,
        };
        state.stages.push(Stage {
            name,
            started_at_millis: now,
            millis: None,
        });
    });
    let line = serde_json::to_string(&event(&state.borrow())).unwrap() + "\n";
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.ha_stdout_log())
        .unwrap();
    log.write_all(line.as_bytes()).unwrap();
}

fn event(state: &State) -> Event {
    Event {
        time: jiff::Timestamp::now().to_string(),
        status: LimaStatus::of(state.phase, &state.errors, PORT),
        phase: Some(state.phase),
        reason: (state.phase == Phase::Exiting).then(|| "stopped".to_owned()),
        ended: None,
        stages: state.stages.clone(),
    }
}

async fn answer(mut stream: UnixStream, dir: InstanceDir, state: Arc<watch::Sender<State>>) {
    let has = |name: &str| dir.path().join(name).exists();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        request.push(byte);
    }
    while has("mute") {
        tokio::time::sleep(LOOK).await;
    }
    let request = String::from_utf8(request).unwrap();
    if request.starts_with("GET /v1/info") {
        let body = serde_json::to_string(&info(&dir, &state.borrow())).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
    } else if request.starts_with("GET /v1/events") {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .await;
        let mut states = state.subscribe();
        loop {
            let line = serde_json::to_string(&event(&states.borrow_and_update())).unwrap() + "\n";
            if stream.write_all(line.as_bytes()).await.is_err() || states.changed().await.is_err() {
                return;
            }
        }
    } else if request.starts_with("POST /v1/stop") {
        let _ = stream
            .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        if has("deaf") || state.borrow().phase == Phase::Stopping {
            return;
        }
        enter(&state, &dir, Phase::Stopping, None);
        while has("lingers") {
            tokio::time::sleep(LOOK).await;
        }
        enter(&state, &dir, Phase::Exiting, None);
    }
}

fn info(dir: &InstanceDir, state: &State) -> Info {
    Info {
        ssh_local_port: PORT,
        name: dir.name().into(),
        phase: state.phase,
        errors: state.errors.clone(),
        hostagent: Identity::of_current().unwrap(),
        hostagent_started_at: Some(1_700_000_000),
        qemu: None,
        run_status: None,
        adopted: false,
        accelerator: None,
        accelerator_warning: Some(SLOW.into()),
        started_at: Some(1),
        ready_at: None,
        boot_count: 1,
        guest: GuestStatus::default(),
        stages: state.stages.clone(),
        notes: Vec::new(),
        ended: None,
    }
}
