//! Stops of a hung QEMU, stops in every phase of a start, and the report of an unexpected end.

use std::io::Write;
use std::time::Duration;

use driver::MachineState;
use futures::StreamExt;
use hostagent::status::{Event, Phase, StageName};
use process::Signal;

use crate::support::{PATIENCE, Vm, is_alive, send};
use crate::{BEYOND_GRACE, exit_code};

/// A stopped QEMU process handles neither the power button nor `quit`.
#[tokio::test]
async fn h17_hung_qemu_is_gone_within_the_grace_period_and_ten_seconds() {
    let vm = Vm::new();
    for grace in [Duration::from_secs(1), Duration::ZERO] {
        let info = vm.boot().await;
        let qemu = info.qemu.unwrap();
        send(&qemu, Signal::Stop);
        vm.client().await.stop(grace).await.unwrap();
        vm.gone_within(grace + BEYOND_GRACE).await;
        assert!(!is_alive(&qemu), "{}", vm.log());
        vm.assert_no_sockets();
    }
}

#[tokio::test]
async fn h17_shorter_grace_period_takes_effect_while_qemu_hangs() {
    let vm = Vm::new();
    let info = vm.boot().await;
    let qemu = info.qemu.unwrap();
    send(&qemu, Signal::Stop);
    let client = vm.client().await;
    client.stop(Duration::from_secs(3600)).await.unwrap();
    vm.wait_for("it to stop", |info| info.phase == Phase::Stopping)
        .await;
    client.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&qemu), "{}", vm.log());
}

/// Stops while QEMU's version is read, while QEMU does not listen yet, and while QEMU hangs.
#[tokio::test]
async fn h26_stop_takes_effect_before_qemu_runs_and_before_it_answers() {
    let vm = Vm::new();
    let starting = |info: &hostagent::status::Info| {
        info.stages
            .last()
            .is_some_and(|stage| stage.name == StageName::Starting)
    };
    vm.set_program("qemu-system-x86_64", "exec sleep 1000");
    vm.spawn().await;
    vm.wait_for("QEMU's version to be read", starting).await;
    assert_eq!(vm.machine().await, MachineState::Absent);
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;

    vm.set_qemu("exec sleep 1000");
    vm.spawn().await;
    let qemu = vm.wait_for_process().await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&qemu), "{}", vm.log());
    assert_eq!(vm.machine().await, MachineState::Absent);

    vm.set_qemu("exec $QEMU \"$@\"");
    let info = vm.boot().await;
    let qemu = info.qemu.unwrap();
    send(&qemu, Signal::Stop);
    send(&info.hostagent, Signal::Kill);
    vm.gone_within(PATIENCE).await;
    vm.spawn().await;
    vm.wait_for("the next hostagent to find it", |info| info.adopted)
        .await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(!is_alive(&qemu), "{}", vm.log());
    vm.assert_no_sockets();
}

#[tokio::test]
async fn h19_end_is_reported_with_status_last_lines_and_stages() {
    let vm = Vm::new();
    let info = vm.boot().await;
    let client = vm.client().await;
    let events = client.events().await.unwrap();
    let mut console = std::fs::File::options()
        .append(true)
        .open(vm.dir.serial_log())
        .unwrap();
    console
        .write_all(b"\r\n\x1b[31mKernel panic\x1b[0m\x07 - not syncing\r\n")
        .unwrap();
    send(&info.qemu.unwrap(), Signal::Kill);
    let last: Event = events
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .await
        .pop()
        .unwrap();
    let error = last.status.errors.join("\n");
    assert!(
        error.contains("signal: 9")
            && error.contains("last lines of the guest's console:")
            && error.ends_with("Kernel panic - not syncing"),
        "{error}"
    );
    let names: Vec<StageName> = last.stages.iter().map(|stage| stage.name).collect();
    use StageName::{Booting, Preparing, Starting};
    assert_eq!(names, [Preparing, Starting, Booting]);
    assert!(last.stages.iter().all(|stage| stage.millis.is_some()));

    vm.set_qemu("printf 'no \\033[1mdisk\\033[0m\\a\\n' >&2; exit 3");
    vm.gone_within(PATIENCE).await;
    let mut child = vm.spawn_child();
    assert_eq!(exit_code(&mut child).await, 1);
    let log = std::fs::read_to_string(vm.dir.ha_stdout_log()).unwrap();
    let last: Event = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let error = last.status.errors.join("\n");
    assert!(
        error.contains("ended at once (exit status: 3)") && error.ends_with("no disk"),
        "{error}"
    );
}
