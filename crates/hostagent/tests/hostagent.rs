//! A hostagent process with a real QEMU: boot, adoption, every way to end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

#[path = "suite/adoption.rs"]
mod adoption;
#[path = "suite/components.rs"]
mod components;
#[path = "suite/ending.rs"]
mod ending;
#[path = "suite/guest_agent.rs"]
mod guest_agent;
mod support;

use std::time::Duration;

use driver::{Accelerator, MachineState};
use futures::StreamExt;
use hostagent::client::{self, AgentState, observe};
use hostagent::status::{Event, Phase};
use process::{Exit, Identity, Signal};
use support::{PATIENCE, Vm, is_alive, send};

/// The most that the stop sequence takes beyond the grace period.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn h17_guest_that_ignores_shutdown_is_gone_after_the_grace_period() {
    let vm = Vm::new();
    let info = vm.boot().await;
    assert_eq!((info.adopted, info.boot_count), (false, 1));
    assert_eq!(info.accelerator, Some(Accelerator::Tcg));
    assert_ne!(info.ssh_local_port, 0);
    let qemu = info.qemu.clone().unwrap();
    let seen = observe(&vm.dir).await;
    assert_eq!(
        seen.machine,
        MachineState::Alive {
            identity: qemu.clone()
        }
    );
    assert_eq!(
        seen.agent,
        AgentState::Alive {
            identity: Some(info.hostagent.clone()),
            silent: None
        }
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(vm.dir.ha_sock()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let mut events = vm.client().await.events().await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(
        (first.phase, first.status.ssh_local_port),
        (Some(Phase::Booting), Some(info.ssh_local_port))
    );

    let grace = Duration::from_secs(1);
    vm.client().await.stop(grace).await.unwrap();
    vm.gone_within(grace + BEYOND_GRACE).await;
    assert!(
        !is_alive(&qemu) && !is_alive(&info.hostagent),
        "{}",
        vm.log()
    );
    assert_eq!(observe(&vm.dir).await.machine, MachineState::Absent);
    vm.assert_no_sockets();

    let rest: Vec<Event> = events.map(Result::unwrap).collect().await;
    let phases: Vec<Phase> = rest.iter().filter_map(|event| event.phase).collect();
    assert_eq!(phases, [Phase::Stopping, Phase::Exiting]);
    assert!(
        rest.iter()
            .all(|event| event.status.exiting && !event.status.running)
    );
    // The log contains the same lines, as Lima writes them.
    let log = std::fs::read_to_string(vm.dir.ha_stdout_log()).unwrap();
    let logged: Vec<Event> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(logged[logged.len() - rest.len()..], rest);
}

#[tokio::test]
async fn h13_file_that_cannot_be_removed_is_logged_and_the_others_are_removed() {
    let vm = Vm::new();
    vm.boot().await;
    // Even root cannot remove a folder as if it were a file.
    std::fs::remove_file(vm.dir.ha_pid()).unwrap();
    std::fs::create_dir(vm.dir.ha_pid()).unwrap();
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!vm.dir.ha_sock().exists());
    assert!(!vm.dir.qmp_sock().exists());
    let path = vm.dir.ha_pid().display().to_string();
    let log = vm.log();
    assert!(
        log.lines()
            .any(|line| line.contains("WARN") && line.contains(&path)),
        "{log}"
    );
    // The next hostagent starts once the folder is gone.
    std::fs::remove_dir(vm.dir.ha_pid()).unwrap();
    vm.boot().await;
}

#[tokio::test]
async fn h18_new_hostagent_adopts_the_vm_of_a_killed_one() {
    let vm = Vm::new();
    let before = vm.boot().await;
    send(&before.hostagent, Signal::Kill);
    vm.gone_within(PATIENCE).await;
    let qemu = before.qemu.clone().unwrap();
    assert_eq!(
        observe(&vm.dir).await.machine,
        MachineState::Alive { identity: qemu }
    );

    let after = vm.boot().await;
    assert!(after.adopted);
    assert_ne!(after.hostagent, before.hostagent);
    let same =
        |info: &hostagent::status::Info| (info.qemu.clone(), info.started_at, info.ssh_local_port);
    assert_eq!(same(&after), same(&before));

    // A guest that was running when its hostagent died is Running again at once.
    vm.set_ssh("exit 0");
    vm.wait_for("the guest to run", |info| info.phase == Phase::Running)
        .await;
    send(&after.hostagent, Signal::Kill);
    vm.gone_within(PATIENCE).await;
    vm.set_ssh("exec sleep 1000");
    vm.spawn().await;
    let events = vm.client().await.events().await.unwrap();
    let until_running = events
        .map(|event| event.unwrap().phase)
        .take_while(|phase| std::future::ready(*phase != Some(Phase::Running)));
    let phases: Vec<_> = tokio::time::timeout(PATIENCE, until_running.collect())
        .await
        .unwrap();
    assert!(
        phases.iter().all(|phase| *phase == Some(Phase::Preparing)),
        "it is not a boot: {phases:?}"
    );

    // The hostagent that adopted the VM can stop it.
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&before.qemu.unwrap()));
    vm.assert_no_sockets();

    // The port of the last start is kept.
    assert_eq!(vm.boot().await.ssh_local_port, before.ssh_local_port);
}

#[tokio::test]
async fn detached_vm_keeps_running() {
    let vm = Vm::new();
    let before = vm.boot().await;
    vm.client().await.detach().await.unwrap();
    vm.gone_within(PATIENCE).await;
    assert!(is_alive(before.qemu.as_ref().unwrap()));
    assert_eq!(vm.boot().await.qemu, before.qemu);
}

#[tokio::test]
async fn h26_stop_takes_effect_in_every_phase() {
    let vm = Vm::new();
    // The request is sent as soon as the hostagent listens, in any phase.
    let hostagent = vm.spawn().await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&hostagent));
    assert_eq!(observe(&vm.dir).await.machine, MachineState::Absent);

    // A second request shortens the grace period of the first one.
    let info = vm.boot().await;
    let client = vm.client().await;
    client.stop(Duration::from_secs(3600)).await.unwrap();
    vm.wait_for("it to stop", |info| info.phase == Phase::Stopping)
        .await;
    client.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&info.qemu.unwrap()));
}

#[tokio::test]
async fn sigterm_stops_the_vm() {
    let vm = Vm::new();
    let mut child = vm.spawn_child();
    let info = vm
        .wait_for("the VM to run", |info| info.qemu.is_some())
        .await;
    child.process().signal(Signal::Terminate).unwrap();
    assert_eq!(exit_code(&mut child).await, 0, "{}", vm.log());
    assert!(!is_alive(&info.qemu.unwrap()));
    vm.assert_no_sockets();
}

#[tokio::test]
async fn end_of_the_vm_is_reported_by_event_and_exit_code() {
    let vm = Vm::new();
    let mut child = vm.spawn_child();
    let info = vm
        .wait_for("the VM to run", |info| info.qemu.is_some())
        .await;
    let events = vm.client().await.events().await.unwrap();
    send(&info.qemu.unwrap(), Signal::Kill);
    let last: Event = events
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .await
        .pop()
        .unwrap();
    assert_eq!(exit_code(&mut child).await, 11);
    assert_eq!(last.phase, Some(Phase::Exiting));
    assert!(
        last.status.errors[0].contains("QEMU ended without a reason (signal: 9"),
        "{last:?}"
    );
    vm.assert_no_sockets();
}

#[tokio::test]
async fn h34_second_hostagent_names_the_first_and_exits() {
    let vm = Vm::new();
    let first = vm.boot().await;
    let mut second = vm.spawn_child();
    assert_eq!(exit_code(&mut second).await, 1);
    let expected = format!(
        "vm already has a hostagent: hostagent of VM vm (PID {})",
        first.hostagent.pid()
    );
    assert!(vm.log().contains(&expected), "{}", vm.log());
    assert_eq!(
        observe(&vm.dir).await.info.unwrap().hostagent,
        first.hostagent
    );
}

#[tokio::test]
async fn h17_hung_hostagent_and_hung_vm_are_killed_and_the_lock_proves_it() {
    let vm = Vm::new();
    let info = vm.boot().await;
    let qemu = info.qemu.clone().unwrap();
    send(&qemu, Signal::Stop);
    send(&info.hostagent, Signal::Stop);
    let seen = observe(&vm.dir).await;
    assert!(
        matches!(&seen.agent, AgentState::Alive { identity: Some(id), silent: Some(_) } if *id == info.hostagent)
    );
    assert!(
        client::wait_gone(&vm.dir, Duration::from_millis(100))
            .await
            .is_err()
    );

    let lock = client::kill(&vm.dir, PATIENCE).await.unwrap();
    assert!(!is_alive(&qemu) && !is_alive(&info.hostagent));
    // No hostagent starts while the lock is held.
    let mut late = vm.spawn_child();
    assert_eq!(exit_code(&mut late).await, 1);
    drop(lock);
    drop(client::kill(&vm.dir, PATIENCE).await.unwrap());
    vm.boot().await;
}

#[tokio::test]
async fn h21_vm_without_a_hostagent_is_killed_too() {
    let vm = Vm::new();
    let info = vm.boot().await;
    send(&info.hostagent, Signal::Kill);
    let _lock = client::kill(&vm.dir, PATIENCE).await.unwrap();
    assert!(!is_alive(&info.qemu.unwrap()));
}

#[tokio::test]
async fn h06_h15_stale_and_forged_files_neither_prevent_a_start_nor_harm_a_process() {
    let vm = Vm::new();
    let bystander = testutils::Bystander::new();
    let boot = process::identity::boot_id().unwrap();
    let start = Identity::of_current().unwrap().start_time();
    // The last one is the bystander's true identity: only the missing lock protects it.
    let own = Identity::of(bystander.pid()).unwrap().unwrap();
    for (pid, start) in [
        (i64::from(bystander.pid()), start),
        (0, start),
        (1, start),
        (-1, start),
        (i64::from(bystander.pid()), own.start_time()),
    ] {
        let forged =
            format!(r#"{{"pid":{pid},"start_time":{start},"boot_id":"{boot}","label":"forged"}}"#);
        std::fs::write(driver::qemu::QemuFiles::of(&vm.dir).lock, &forged).unwrap();
        std::fs::write(vm.dir.ha_lock(), &forged).unwrap();
        std::fs::write(vm.dir.ha_pid(), pid.to_string()).unwrap();
        std::fs::write(vm.dir.qemu_pid(), pid.to_string()).unwrap();
        std::fs::write(
            driver::qemu::QemuFiles::of(&vm.dir).record,
            format!(
                r#"{{"accelerator":"tcg","ssh_local_port":1,"started_at":1,"program":"/x","identity":{forged}}}"#
            ),
        )
        .unwrap();
        for socket in [vm.dir.ha_sock(), vm.dir.qmp_sock(), vm.dir.ga_sock()] {
            let _ = std::fs::remove_file(&socket);
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        std::fs::write(vm.dir.path().join("lima.yaml.1-1.tmp"), "half").unwrap();

        let seen = observe(&vm.dir).await;
        assert_eq!(
            (seen.agent, seen.machine),
            (AgentState::Absent, MachineState::Absent),
            "PID {pid}"
        );
        drop(client::kill(&vm.dir, PATIENCE).await.unwrap());
        bystander.assert_untouched();
    }
    vm.boot().await;
    assert!(!vm.dir.path().join("lima.yaml.1-1.tmp").exists());
    bystander.assert_untouched();
}

#[tokio::test]
async fn h30_failing_logins_are_reported_until_one_works() {
    let mut vm = Vm::new();
    vm.ready = 1;
    vm.spawn().await;
    let info = vm
        .wait_for("the VM to be degraded", |info| {
            info.phase == Phase::Degraded
        })
        .await;
    assert!(
        info.errors[0].starts_with("no login within 1 s of the start"),
        "{info:?}"
    );
    vm.wait_for("the message of ssh", |info| {
        info.errors.iter().any(|error| error.contains("no route"))
    })
    .await;

    vm.set_ssh("exit 0");
    let info = vm
        .wait_for("the VM to run", |info| info.phase == Phase::Running)
        .await;
    assert!(
        info.errors.is_empty() && info.ready_at.is_some(),
        "{info:?}"
    );

    // This guest has no agent, which is a note and not a trouble.
    let info = vm
        .wait_for("the missing agent to be noted", |info| {
            !info.notes.is_empty()
        })
        .await;
    assert!(
        info.notes[0].contains("no agent") && info.phase == Phase::Running,
        "{info:?}"
    );

    // A later failure is found by the health checks.
    vm.set_ssh("echo banner exchange: timed out >&2; exit 255");
    let info = vm
        .wait_for("the VM to be degraded again", |info| {
            info.phase == Phase::Degraded
        })
        .await;
    assert!(info.errors[0].contains("banner exchange"), "{info:?}");
}

#[tokio::test]
async fn failed_start_reports_the_cause_and_leaves_no_process() {
    async fn failure(vm: &Vm) -> String {
        let mut child = vm.spawn_child();
        assert_eq!(exit_code(&mut child).await, 1);
        assert_eq!(observe(&vm.dir).await.machine, MachineState::Absent);
        let log = std::fs::read_to_string(vm.dir.ha_stdout_log()).unwrap();
        let last: Event = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert!(last.status.exiting);
        last.status.errors.join("; ")
    }
    let vm = Vm::new();
    let template = std::fs::read_to_string(vm.dir.lima_yaml()).unwrap();
    std::fs::write(vm.dir.lima_yaml(), "cpus: [").unwrap();
    assert!(failure(&vm).await.contains("cannot prepare vm"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(
        vm.dir.lima_yaml(),
        format!("{template}ssh: {{localPort: {port}}}\n"),
    )
    .unwrap();
    assert!(
        failure(&vm)
            .await
            .contains(&format!("port {port} of 127.0.0.1 is in use"))
    );

    std::fs::write(vm.dir.lima_yaml(), &template).unwrap();
    let disk = std::fs::read(vm.dir.diff_disk()).unwrap();
    std::fs::remove_file(vm.dir.diff_disk()).unwrap();
    assert!(failure(&vm).await.contains("cannot find the VM's disk"));
    std::fs::write(vm.dir.diff_disk(), "no disk").unwrap();
    assert!(failure(&vm).await.contains("not in qcow2 format"));

    std::fs::write(vm.dir.diff_disk(), disk).unwrap();
    vm.boot().await;
}

async fn exit_code(child: &mut process::spawn::Child) -> i32 {
    match child.wait_async(std::time::Instant::now() + PATIENCE).await {
        Exit::Exited(Some(status)) => status.code().unwrap_or(-1),
        other => panic!("the hostagent does not end: {other:?}"),
    }
}
