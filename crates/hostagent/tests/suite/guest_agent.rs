//! A fake agent inside the guest: a guest whose clock is wrong, and an agent that hangs.

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

/// A script that moves QEMU's agent socket elsewhere, so that the test can listen on `ga.sock`.
pub(crate) const WITHOUT_AGENT: &str =
    "for arg; do shift; case \"$arg\" in *ga.sock) arg=${arg%ga.sock}elsewhere;; esac
set -- \"$@\" \"$arg\"; done; exec $QEMU \"$@\"";

/// How many seconds a loaded host may take between two readings of one clock.
const SLACK: u64 = 300;
const HOUR: u64 = 3600;

/// The fake agent. It answers only when the test calls its methods.
pub(crate) struct Agent {
    stream: UnixStream,
    lines: LineReader,
    /// By how many milliseconds the guest's clock is ahead.
    ahead: i64,
    /// Whether the agent sets the clock on request.
    sets_clock: bool,
    pub(crate) host_keys: Vec<String>,
}

impl Agent {
    /// Waits for the hostagent and answers its first request.
    pub(crate) async fn of(vm: &Vm) -> Agent {
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
            sets_clock: true,
            host_keys: Vec::new(),
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
            host_keys: self.host_keys.clone(),
            failures: Vec::new(),
            provisioning: None,
        }
    }

    async fn send(&mut self, message: &GuestMessage) {
        let line = to_line(message).unwrap();
        self.stream.write_all(&line).await.unwrap();
    }

    /// Sends the agent's status without a request.
    pub(crate) async fn send_status(&mut self) {
        let status = self.status();
        self.send(&GuestMessage::Status { status }).await;
    }

    /// Waits for the next requests, answers them, and returns the last one.
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
            if let (Request::SetTime { unix_nanos }, true) = (&request, self.sets_clock) {
                self.ahead = unix_nanos / 1_000_000 - now();
            }
            let (error, status) = (None, self.status());
            self.send(&GuestMessage::Reply { id, error, status }).await;
            last = Some(request);
        }
        last.unwrap()
    }

    /// Discards requests that were repeated before the first answer arrived.
    async fn discard_pending_requests(&mut self) {
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
async fn h29_jump_of_the_hosts_clock_sets_the_guests_clock_until_it_is_right() {
    let mut vm = Vm::new();
    // No health check happens during this test.
    vm.health = HOUR;
    vm.set_host_clock(0);
    vm.set_ssh("exit 0");
    vm.set_qemu(WITHOUT_AGENT);
    vm.spawn().await;
    let mut agent = Agent::of(&vm).await;
    vm.wait_for("the VM to run", is_up).await;
    agent.discard_pending_requests().await;

    vm.set_host_clock(HOUR);
    assert_eq!(agent.answer().await, Request::Status);
    assert!(is_set_time(&agent.answer().await));
    agent.assert_ahead_by(HOUR);
    // The answer must be handled before the clock jumps again; otherwise it would count as a failure.
    poll_async(PATIENCE, "the answer to be handled", async || {
        let log = vm.log();
        match log.contains("the guest's clock is right again") {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;

    // The clock is set back, and the agent reports success without setting its clock.
    agent.sets_clock = false;
    vm.set_host_clock(0);
    assert_eq!(agent.answer().await, Request::Status);
    assert!(is_set_time(&agent.answer().await));
    let is_reported = |info: &Info| {
        let about_clock = |error: &String| error.contains("could not set it");
        info.phase == Phase::Degraded && info.errors.iter().any(about_clock)
    };
    poll_async(PATIENCE, "the failure to be reported", async || {
        agent.send_status().await;
        match observe(&vm.dir).await.info {
            Some(info) if is_reported(&info) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    agent.sets_clock = true;
    assert!(
        is_set_time(&agent.answer().await),
        "the request is repeated"
    );
    agent.assert_ahead_by(0);
    vm.wait_for("the VM to have no trouble", is_up).await;
}

#[tokio::test]
async fn h30_hung_agent_is_reported_until_it_answers() {
    let vm = Vm::new();
    vm.set_ssh("exit 0");
    vm.set_qemu(WITHOUT_AGENT);
    vm.spawn().await;
    let mut agent = Agent::of(&vm).await;
    vm.wait_for("the VM to run", is_up).await;
    vm.wait_for("the hung agent to be reported", |info| {
        let about_agent = |error: &String| error.contains("the guest agent did not answer");
        info.phase == Phase::Degraded && info.errors.iter().any(about_agent)
    })
    .await;
    poll_async(PATIENCE, "the VM to have no trouble", async || {
        agent.answer().await;
        match observe(&vm.dir).await.info {
            Some(info) if is_up(&info) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn h30_hung_login_does_not_delay_a_stop() {
    let mut vm = Vm::new();
    // In a guest without an agent, the hostagent tries a login after this time.
    vm.ready = 1;
    let tried = vm.dir.path().join("tried");
    vm.set_ssh(&format!("touch '{}'; exec sleep 1000", tried.display()));
    vm.spawn().await;
    let info = vm.wait_for("QEMU", |info| info.qemu.is_some()).await;
    poll_async(PATIENCE, "a login", async || match tried.exists() {
        true => Ok(()),
        false => Err("no login was tried"),
    })
    .await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&info.qemu.unwrap()));
}
