//! A new hostagent adopts the running VM, even if the previous hostagent crashed and files were lost.

use driver::MachineState;
use driver::qemu::QemuFiles;
use hostagent::client::observe;
use hostagent::status::{Phase, StageName};
use process::Signal;

use crate::support::{PATIENCE, Vm, is_alive, send};

/// The hostagent dies right after QEMU's start, after it recorded QEMU's identity, or after QEMU's first answer.
#[tokio::test]
async fn h18_qemu_of_a_hostagent_that_was_killed_during_its_start_is_adopted() {
    for point in [
        "qemu.start.after-spawn",
        "qemu.start.after-identity",
        "qemu.start.after-answer",
    ] {
        let mut vm = Vm::new();
        // QEMU listens only after the next hostagent has started.
        vm.set_qemu("sleep 0.5; exec $QEMU \"$@\"");
        vm.crash_point = Some(point);
        let hostagent = vm.spawn().await;
        testutils::poll_async(PATIENCE, "the hostagent's end", async || {
            let alive = is_alive(&hostagent);
            if alive { Err(vm.log()) } else { Ok(()) }
        })
        .await;
        vm.gone_within(PATIENCE).await;
        let qemu = vm.wait_for_process().await;
        let alive = MachineState::Alive {
            identity: qemu.clone(),
        };
        assert_eq!(observe(&vm.dir).await.machine, alive, "{point}");

        vm.crash_point = None;
        vm.set_qemu("exit 1");
        let info = vm.boot().await;
        assert!(info.adopted, "{point}: {info:?}");
        assert_eq!(info.qemu.as_ref(), Some(&qemu), "{point}");
        assert_ne!(info.ssh_local_port, 0, "{point}");
        let record = vm.record();
        assert_eq!(record.identity.as_ref(), Some(&qemu), "{point}");
        // The hostagent recorded before QEMU's start what QEMU itself cannot report.
        assert_ne!(record.program, std::path::PathBuf::new(), "{point}");
        assert!(is_alive(&qemu), "{point}");
    }
}

#[tokio::test]
async fn h18_vm_is_adopted_after_its_files_were_removed() {
    let vm = Vm::new();
    let before = vm.boot().await;
    send(&before.hostagent, Signal::Kill);
    vm.gone_within(PATIENCE).await;
    let files = QemuFiles::of(&vm.dir);
    let removable = [
        vm.dir.qmp_sock(),
        vm.dir.ga_sock(),
        vm.dir.ha_sock(),
        vm.dir.ha_pid(),
        vm.dir.ha_lock(),
        vm.dir.ssh_config(),
        files.record,
    ];
    for path in &removable {
        std::fs::remove_file(path).unwrap();
    }
    let after = vm.boot().await;
    assert!(after.adopted, "{after:?}");
    assert_eq!(after.qemu, before.qemu);
    assert_eq!(after.ssh_local_port, before.ssh_local_port);
    for path in &removable {
        assert!(path.exists(), "{} was not restored", path.display());
    }

    // The same while a hostagent lives.
    std::fs::remove_file(vm.dir.qmp_sock()).unwrap();
    testutils::poll_async(PATIENCE, "qmp.sock", async || {
        vm.dir.qmp_sock().exists().then_some(()).ok_or("not there")
    })
    .await;
}

#[tokio::test]
async fn h30_hung_vm_is_reported_by_its_hostagent_and_by_the_next_one_until_it_answers() {
    let vm = Vm::new();
    vm.set_ssh("exit 0");
    let before = vm.spawn().await;
    let up = |info: &hostagent::status::Info| info.phase == Phase::Running;
    let info = vm.wait_for("the VM to run", up).await;
    let qemu = info.qemu.unwrap();

    let silent = |info: &hostagent::status::Info| {
        info.phase == Phase::Degraded
            && info
                .errors
                .iter()
                .any(|error| error.contains("did not answer"))
    };
    send(&qemu, Signal::Stop);
    vm.wait_for("the hung QEMU to be reported", silent).await;
    send(&qemu, Signal::Continue);
    vm.wait_for("the VM to run again", up).await;

    send(&qemu, Signal::Stop);
    send(&before, Signal::Kill);
    vm.gone_within(PATIENCE).await;
    vm.spawn().await;
    let info = vm.wait_for("the next hostagent to report it", silent).await;
    assert_eq!(info.qemu.as_ref(), Some(&qemu));
    send(&qemu, Signal::Continue);
    let info = vm.wait_for("the VM to be adopted", up).await;
    assert!(
        info.adopted && info.qemu == Some(qemu) && info.errors.is_empty(),
        "{info:?}"
    );

    // The stages of its start are kept.
    let names: Vec<StageName> = info.stages.iter().map(|stage| stage.name).collect();
    use StageName::{Adopting, Booting, Preparing, Starting};
    assert_eq!(names, [Preparing, Starting, Booting, Adopting]);
    assert!(info.stages.iter().all(|stage| stage.millis.is_some()));
}

#[tokio::test]
async fn h15_vm_starts_with_every_combination_of_stale_files() {
    let vm = Vm::new();
    let files = QemuFiles::of(&vm.dir);
    let sockets = [&vm.dir.ha_sock(), &files.qmp_socket];
    let texts = [
        &vm.dir.ha_pid(),
        &files.record,
        &vm.dir.path().join("lima.yaml.1-1.tmp"),
    ];
    for combination in 0..1 << (sockets.len() + texts.len()) {
        let is_left = |index: usize| combination & (1 << index) != 0;
        for (index, socket) in sockets.iter().enumerate() {
            let _ = std::fs::remove_file(socket);
            if is_left(index) {
                drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
            }
        }
        for (index, text) in texts.iter().enumerate() {
            let _ = std::fs::remove_file(text);
            if is_left(sockets.len() + index) {
                std::fs::write(text, "12345").unwrap();
            }
        }
        let info = vm.boot().await;
        assert!(!info.adopted, "combination {combination:#b}");
        vm.client()
            .await
            .stop(std::time::Duration::ZERO)
            .await
            .unwrap();
        vm.gone_within(PATIENCE).await;
        assert!(!is_alive(&info.qemu.unwrap()), "{combination:#b}");
        vm.assert_no_sockets();
    }
}

#[tokio::test]
async fn h16_killed_processes_leave_no_lock() {
    let vm = Vm::new();
    for _ in 0..3 {
        let info = vm.boot().await;
        assert!(!info.adopted);
        send(&info.hostagent, Signal::Kill);
        send(&info.qemu.unwrap(), Signal::Kill);
        vm.gone_within(PATIENCE).await;
        testutils::poll_async(PATIENCE, "QEMU's end", async || match vm.machine().await {
            MachineState::Absent => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}
