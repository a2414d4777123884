//! The agent inside, played by the test: a guest whose clock is off, and one that hangs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guestagent::protocol::{
    Envelope, GuestMessage, GuestStatus, LineReader, Phase as GuestPhase, Request, to_line,
};
use hostagent::client::observe;
use hostagent::status::{Info, Phase};
use testutils::poll_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::BEYOND_GRACE;
use crate::support::{PATIENCE, Vm, is_alive};

/// QEMU's end of the line is elsewhere, so that the test can have `ga.sock`.
const WITHOUT_AGENT: &str =
    "for arg; do shift; case \"$arg\" in *ga.sock) arg=${arg%ga.sock}elsewhere;; esac
set -- \"$@\" \"$arg\"; done; exec $QEMU \"$@\"";

/// Seconds between two readings of one clock that a loaded host may need.
const SLACK: u64 = 300;
const HOUR: u64 = 3600;

/// The agent inside a guest.
struct Agent {
    stream: UnixStream,
    lines: LineReader,
    /// By how many milliseconds the guest's clock is ahead.
    ahead: i64,
    /// It sets the clock when it is told to.
    obeys: bool,
}

impl Agent {
    /// Waits for the hostagent, answers it, and lets the VM be up.
    async fn of(vm: &Vm) -> Agent {
        vm.wait_for("QEMU", |info| info.qemu.is_some()).await;
        let listener = UnixListener::bind(vm.dir.ga_sock()).unwrap();
        let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept())
            .await
            .expect("the hostagent comes")
            .unwrap();
        let mut agent = Agent {
            stream,
            lines: LineReader::new(),
            ahead: 0,
            obeys: true,
        };
        assert_eq!(agent.answer().await, Request::Status);
        agent
    }

    fn status(&self) -> GuestStatus {
        GuestStatus {
            boot_id: "a boot".into(),
            agent_version: "0".into(),
            phase: GuestPhase::Provisioned,
            uptime_millis: 1,
            unix_millis: now() + self.ahead,
            user: "dev".into(),
            host_keys: Vec::new(),
            failures: Vec::new(),
            provisioning: None,
        }
    }

    async fn say(&mut self, message: &GuestMessage) {
        let line = to_line(message).unwrap();
        self.stream.write_all(&line).await.unwrap();
    }

    /// Says something of its own accord.
    async fn tell(&mut self) {
        let status = self.status();
        self.say(&GuestMessage::Status { status }).await;
    }

    /// Answers what it is asked next, and returns that.
    async fn answer(&mut self) -> Request {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, async {
            loop {
                let count = self.stream.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0, "the hostagent is gone");
                let asked = self.lines.push::<Envelope>(&buffer[..count]);
                if !asked.is_empty() {
                    return asked;
                }
            }
        });
        let mut last = None;
        for Envelope { id, request } in read.await.expect("the hostagent asks nothing") {
            if let (Request::SetTime { unix_nanos }, true) = (&request, self.obeys) {
                self.ahead = unix_nanos / 1_000_000 - now();
            }
            let (error, status) = (None, self.status());
            self.say(&GuestMessage::Reply { id, error, status }).await;
            last = Some(request);
        }
        last.unwrap()
    }

    /// What was asked twice, before the first answer came, is not meant any more.
    async fn forget_what_was_asked(&mut self) {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer);
        let _ = tokio::time::timeout(Duration::from_millis(10), read).await;
    }

    fn assert_ahead_by(&self, seconds: u64) {
        let ahead = Duration::from_millis(self.ahead.unsigned_abs()).as_secs();
        assert!(ahead.abs_diff(seconds) < SLACK, "{} ms", self.ahead);
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn is_up(info: &Info) -> bool {
    info.phase == Phase::Running && info.guest.connected && info.errors.is_empty()
}

fn is_set_time(request: &Request) -> bool {
    matches!(request, Request::SetTime { .. })
}

#[tokio::test]
async fn h29_a_host_whose_clock_jumped_asks_at_once_and_sets_the_guests_until_that_helps() {
    let mut vm = Vm::new();
    // Nobody looks at the guest by himself for as long as this test takes.
    vm.health = HOUR;
    vm.set_host_clock(0);
    vm.set_ssh("exit 0");
    vm.set_qemu(WITHOUT_AGENT);
    vm.spawn().await;
    let mut agent = Agent::of(&vm).await;
    vm.wait_for("the VM to run", is_up).await;
    agent.forget_what_was_asked().await;

    vm.set_host_clock(HOUR);
    assert_eq!(agent.answer().await, Request::Status);
    assert!(is_set_time(&agent.answer().await));
    agent.assert_ahead_by(HOUR);
    // The answer is taken in before the clock jumps again: else it would be the proof of a failure.
    poll_async(PATIENCE, "the answer to be heard", async || {
        let log = vm.log();
        match log.contains("the guest's clock is right again") {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;

    // Backwards; and the agent says that it has done it, and has not.
    agent.obeys = false;
    vm.set_host_clock(0);
    assert_eq!(agent.answer().await, Request::Status);
    assert!(is_set_time(&agent.answer().await));
    let told = |info: &Info| {
        let about_clock = |error: &String| error.contains("could not set it");
        info.phase == Phase::Degraded && info.errors.iter().any(about_clock)
    };
    poll_async(PATIENCE, "it to be told", async || {
        agent.tell().await;
        match observe(&vm.dir).await.info {
            Some(info) if told(&info) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    agent.obeys = true;
    assert!(is_set_time(&agent.answer().await), "it is tried again");
    agent.assert_ahead_by(0);
    vm.wait_for("the VM to be well", is_up).await;
}

#[tokio::test]
async fn h30_an_agent_that_hangs_is_told_and_heals() {
    let vm = Vm::new();
    vm.set_ssh("exit 0");
    vm.set_qemu(WITHOUT_AGENT);
    vm.spawn().await;
    let mut agent = Agent::of(&vm).await;
    vm.wait_for("the VM to run", is_up).await;
    vm.wait_for("its silence to be told", |info| {
        let about_agent = |error: &String| error.contains("the guest agent did not answer");
        info.phase == Phase::Degraded && info.errors.iter().any(about_agent)
    })
    .await;
    poll_async(PATIENCE, "the VM to be well", async || {
        agent.answer().await;
        match observe(&vm.dir).await.info {
            Some(info) if is_up(&info) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn h30_a_login_that_hangs_keeps_no_stop_waiting() {
    let mut vm = Vm::new();
    // Without an agent it is tried then at the latest.
    vm.ready = 1;
    let tried = vm.dir.path().join("tried");
    vm.set_ssh(&format!("touch '{}'; exec sleep 1000", tried.display()));
    vm.spawn().await;
    let info = vm.wait_for("QEMU", |info| info.qemu.is_some()).await;
    poll_async(PATIENCE, "a login", async || match tried.exists() {
        true => Ok(()),
        false => Err("nobody tries"),
    })
    .await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&info.qemu.unwrap()));
}
