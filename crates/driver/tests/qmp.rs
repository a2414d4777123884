//! The QMP client against a real QEMU, and against peers that are not QEMU.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::time::Duration;

use driver::qemu::qmp::{MAX_LINE, Qmp, QmpError, QmpEvent, RunState};
use process::spawn::{Child, Spawn};
use process::tree::kill_tree;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// A QEMU without a machine, which starts at once and speaks QMP like any other. It is killed when the value is dropped.
struct Bare {
    child: Child,
    folder: tempfile::TempDir,
}

impl Bare {
    fn start() -> Bare {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!(
            "socket,id=qmp,path={}/qmp.sock,server=on,wait=off",
            folder.path().display()
        );
        let child = Spawn::new("qemu-system-x86_64")
            .args([
                "-machine",
                "none",
                "-S",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
            ])
            .args([
                "-name",
                "a name",
                "-uuid",
                "6f4b7b54-0b7f-4c6e-9a6d-0f7b2f0c9f11",
            ])
            .args(["-chardev", &socket, "-mon", "chardev=qmp,mode=control"])
            .spawn()
            .unwrap();
        Bare { child, folder }
    }

    async fn connect(&self) -> Qmp {
        let socket = self.folder.path().join("qmp.sock");
        let stream = testutils::poll_async(PATIENCE, "QEMU's control socket", async || {
            UnixStream::connect(&socket).await
        })
        .await;
        Qmp::handshake(stream).await.unwrap()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = kill_tree(&self.child.tree(), Duration::ZERO);
    }
}

#[tokio::test]
async fn client_sends_commands_to_a_real_qemu_and_receives_its_events() {
    let mut qemu = Bare::start();
    let qmp = qemu.connect().await;
    assert!(
        qmp.version()
            .split('.')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            >= 5,
        "{}",
        qmp.version()
    );
    assert_eq!(qmp.name().await.unwrap().as_deref(), Some("a name"));
    assert_eq!(
        qmp.uuid().await.unwrap(),
        "6f4b7b54-0b7f-4c6e-9a6d-0f7b2f0c9f11"
    );
    assert_eq!(qmp.status().await.unwrap(), RunState::Prelaunch);

    let mut events = qmp.events();
    qmp.resume().await.unwrap();
    assert_eq!(events.recv().await.unwrap(), QmpEvent::Resume);
    assert_eq!(qmp.status().await.unwrap(), RunState::Running);
    qmp.stop().await.unwrap();
    assert_eq!(events.recv().await.unwrap(), QmpEvent::Stop);
    qmp.power_down().await.unwrap();
    assert_eq!(events.recv().await.unwrap(), QmpEvent::PowerDown);

    qmp.quit().await.unwrap();
    assert_eq!(
        events.recv().await.unwrap(),
        QmpEvent::Shutdown {
            guest: false,
            reason: "host-qmp-quit".into()
        }
    );
    assert!(
        tokio::time::timeout(PATIENCE, qemu.child.ended())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .success()
    );
    tokio::time::timeout(PATIENCE, qmp.closed()).await.unwrap();
    assert!(matches!(qmp.status().await, Err(QmpError::Closed)));
    qmp.quit().await.unwrap();
}

#[tokio::test]
async fn second_client_connects_once_the_first_has_disconnected() {
    let qemu = Bare::start();
    let first = qemu.connect().await;
    first.resume().await.unwrap();
    drop(first);
    let second = qemu.connect().await;
    assert_eq!(second.status().await.unwrap(), RunState::Running);
}

#[tokio::test]
async fn concurrent_commands_get_their_own_answers() {
    let qemu = Bare::start();
    let qmp = qemu.connect().await;
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let qmp = qmp.clone();
            tokio::spawn(async move {
                if n % 2 == 0 {
                    assert_eq!(qmp.name().await.unwrap().as_deref(), Some("a name"));
                } else {
                    assert_eq!(qmp.status().await.unwrap(), RunState::Prelaunch);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Runs the handshake with a peer that sends `first` and answers the first command with `answer`.
async fn against(first: &[u8], answer: Option<&[u8]>) -> Result<Qmp, QmpError> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (first, answer) = (first.to_vec(), answer.map(<[u8]>::to_vec));
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let _ = write.write_all(&first).await;
        let mut line = String::new();
        if let Some(answer) = answer {
            let _ = BufReader::new(read).read_line(&mut line).await;
            let _ = write.write_all(&answer).await;
        }
    });
    Qmp::handshake(ours).await
}

#[tokio::test]
async fn peer_that_is_not_qemu_is_refused() {
    const GREETING: &[u8] =
        b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}}}}\n";
    let endless = vec![b'x'; MAX_LINE as usize + 1];
    let closed: &[u8] = b"";
    for (first, expected) in [
        (&b"SSH-2.0-OpenSSH_9.2\n"[..], "does not speak QMP"),
        (b"{}\n", "not a greeting"),
        (&endless, "longer than"),
    ] {
        let error = against(first, None).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(against(closed, None).await, Err(QmpError::Closed)));
    assert!(
        matches!(against(b"{\"QMP\"", None).await, Err(QmpError::Closed)),
        "an incomplete line is not a message"
    );
    assert!(matches!(
        against(GREETING, None).await,
        Err(QmpError::Closed)
    ));

    let refusal = b"{\"id\": 1, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"}}\n";
    let error = against(GREETING, Some(refusal)).await.unwrap_err();
    assert!(
        matches!(&error, QmpError::Refused { command: "qmp_capabilities", class, .. } if class == "CommandNotFound"),
        "{error}"
    );
    let noisy =
        b"{\"id\": 77, \"return\": 1}\n{\"event\": \"NIC_RX\"}\n{\"id\": 1, \"return\": {}}\n";
    assert_eq!(
        against(GREETING, Some(noisy)).await.unwrap().version(),
        "10.0.2"
    );
}
