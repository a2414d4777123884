//! What every driver must do, as tests over the trait. `machine.rs` runs them with a real QEMU, `wsl/main.rs` with a fake
//! WSL.

use std::sync::Arc;
use std::time::Duration;

use driver::{Driver, DriverError, Exit, Machine, MachineEvent, MachineState, RunStatus};
use driver::{MachineRecord, StartRequest};
use process::{Process, Signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every test of the contract, one after the other, on one instance.
pub(crate) async fn check(driver: &dyn Driver, request: &StartRequest<'_>) {
    no_machine_is_no_error(driver, request).await;
    machine_outlives_its_handle_and_is_adopted(driver, request).await;
    second_start_is_refused(driver, request).await;
    quit_and_kill_end_the_machine_and_succeed_when_repeated(driver, request).await;
    death_of_the_process_is_reported(driver, request).await;
    destroy_ends_a_machine_that_has_no_handle(driver, request).await;
}

async fn no_machine_is_no_error(driver: &dyn Driver, request: &StartRequest<'_>) {
    assert_absent(driver, request).await;
    assert!(driver.adopt(request.dir).await.unwrap().is_none());
    driver.destroy(request.dir, PATIENCE).await.unwrap();
}

async fn machine_outlives_its_handle_and_is_adopted(
    driver: &dyn Driver,
    request: &StartRequest<'_>,
) {
    let machine = start(driver, request).await;
    let (identity, record) = (machine.identity().clone(), machine.record().clone());
    assert_eq!(driver.last_record(request.dir).as_ref(), Some(&record));
    assert_eq!(record.identity.as_ref(), Some(&identity));
    drop(machine);
    let alive = MachineState::Alive {
        identity: identity.clone(),
    };
    assert_eq!(driver.observe(request.dir).await, alive);

    // Adopting the machine, even repeatedly, does not change it.
    for _ in 0..2 {
        let adopted = driver.adopt(request.dir).await.unwrap().expect("it runs");
        assert_eq!((adopted.identity(), adopted.record()), (&identity, &record));
        assert_eq!(adopted.status().await.unwrap(), RunStatus::Running);
    }
    driver.destroy(request.dir, PATIENCE).await.unwrap();
    assert_absent(driver, request).await;
}

async fn second_start_is_refused(driver: &dyn Driver, request: &StartRequest<'_>) {
    let machine = start(driver, request).await;
    let second = driver.start(request).await.map(drop);
    assert!(
        matches!(second, Err(DriverError::StillRuns { .. })),
        "{second:?}"
    );
    assert_eq!(machine.status().await.unwrap(), RunStatus::Running);
    machine.kill(PATIENCE).await.unwrap();
}

async fn quit_and_kill_end_the_machine_and_succeed_when_repeated(
    driver: &dyn Driver,
    request: &StartRequest<'_>,
) {
    let machine = start(driver, request).await;
    let mut events = machine.events();
    machine.quit().await.unwrap();
    let exit = exited(&machine).await;
    assert!(!exit.guest_powered_off, "{exit:?}");
    let mut last = None;
    while let Ok(event) = events.recv().await {
        let is_exit = matches!(event, MachineEvent::Exited(_));
        last = Some(event);
        if is_exit {
            break;
        }
    }
    assert_eq!(last, Some(MachineEvent::Exited(exit)));
    assert_absent(driver, request).await;
    machine.kill(PATIENCE).await.unwrap();
    driver.destroy(request.dir, PATIENCE).await.unwrap();
    // The record stays, because it has how the machine was last started.
    assert!(driver.last_record(request.dir).is_some());
}

async fn death_of_the_process_is_reported(driver: &dyn Driver, request: &StartRequest<'_>) {
    // The exit status of an adopted machine is unknown, so its death is reported without one.
    for adopted in [false, true] {
        let mut machine = start(driver, request).await;
        if adopted {
            drop(machine);
            machine = driver.adopt(request.dir).await.unwrap().expect("it runs");
        }
        let process = Process::open(machine.identity()).unwrap().unwrap();
        process.signal(Signal::Kill).unwrap();
        let exit = exited(&machine).await;
        assert!(
            !exit.guest_powered_off && !exit.reason.is_empty(),
            "{exit:?}"
        );
        assert_absent(driver, request).await;
    }
}

async fn destroy_ends_a_machine_that_has_no_handle(
    driver: &dyn Driver,
    request: &StartRequest<'_>,
) {
    let machine = start(driver, request).await;
    let identity = machine.identity().clone();
    drop(machine);
    driver.destroy(request.dir, PATIENCE).await.unwrap();
    assert!(Process::open(&identity).unwrap().is_none());
    assert_absent(driver, request).await;
}

async fn start(driver: &dyn Driver, request: &StartRequest<'_>) -> Arc<dyn Machine> {
    let machine = driver.start(request).await.unwrap();
    let MachineRecord { ssh_local_port, .. } = machine.record();
    let expected = match driver.capabilities().ssh_port {
        true => request.ssh_local_port,
        false => 0,
    };
    assert_eq!(*ssh_local_port, expected);
    machine
}

async fn assert_absent(driver: &dyn Driver, request: &StartRequest<'_>) {
    assert_eq!(driver.observe(request.dir).await, MachineState::Absent);
}

async fn exited(machine: &Arc<dyn Machine>) -> Exit {
    tokio::time::timeout(PATIENCE, machine.exited())
        .await
        .expect("the machine does not end")
}
