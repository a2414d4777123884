//! The life of a real QEMU under the driver. The guest is a PC with an empty disk: its firmware finds no system to boot,
//! keeps running, and ignores its power button.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

#[path = "contract/mod.rs"]
mod contract;
#[path = "support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver::qemu::{AgentPort, Boot, Disk, Firmware, MachineSpec, Qemu, QemuFiles};
use driver::{
    Accelerator, Driver, DriverError, Machine, MachineEvent, MachineState, RunStatus, StartRequest,
};
use lima::image::{DiskFormat, RootBus};
use lima::layout::InstanceDir;
use lima::template::Arch;
use process::{Identity, Process, Signal};

use support::HOSTILE;

const PATIENCE: Duration = Duration::from_secs(30);

/// An instance folder with an empty disk. A QEMU that was started in it is killed when it is dropped.
struct Instance {
    _root: tempfile::TempDir,
    _port: testutils::Port,
    dir: InstanceDir,
    files: QemuFiles,
    spec: MachineSpec,
    driver: Qemu,
}

impl Instance {
    fn new() -> Instance {
        let port = testutils::Port::reserve();
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(HOSTILE);
        std::fs::create_dir(&path).unwrap();
        let dir = InstanceDir::at(&path, "vm");
        let disk = dir.diff_disk();
        std::fs::File::create(&disk)
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        Instance {
            files: QemuFiles::of(&dir),
            dir,
            spec: MachineSpec {
                name: "vm".into(),
                arch: Arch::X86_64,
                cpus: 1,
                memory: 64 << 20,
                cpu: None,
                accelerator: Some(Accelerator::Tcg),
                boot: Boot::Disk,
                firmware: Firmware::Default,
                disk_bus: RootBus::Virtio,
                disks: vec![Disk {
                    path: disk,
                    format: DiskFormat::Raw,
                }],
                cidata: None,
                agent_port: AgentPort::Serial,
                ssh_local_port: port.number(),
            },
            driver: Qemu::new(std::env::var_os("PATH").unwrap(), root.path().join("cache")),
            _root: root,
            _port: port,
        }
    }

    async fn start(&self) -> Arc<dyn Machine> {
        self.driver
            .start_machine(&self.spec, &self.files)
            .await
            .unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(identity) = self
            .driver
            .last_record(&self.dir)
            .and_then(|record| record.identity)
            && let Ok(Some(process)) = Process::open(&identity)
        {
            let _ = process.signal(Signal::Kill);
        }
    }
}

fn is_alive(identity: &Identity) -> bool {
    Process::open(identity).unwrap().is_some()
}

async fn exited(machine: &Arc<dyn Machine>) -> driver::Exit {
    tokio::time::timeout(PATIENCE, machine.exited())
        .await
        .expect("QEMU does not end")
}

#[tokio::test]
async fn qemu_keeps_the_contract_of_drivers() {
    let vm = Instance::new();
    let made = process::command::Run::new("qemu-img", PATIENCE)
        .args(["create", "-q", "-f", "qcow2"])
        .arg(vm.dir.diff_disk())
        .arg("1M")
        .run();
    made.unwrap();
    let template = "vmType: qemu\narch: x86_64\ncpus: 1\nmemory: 64MiB\nimages: []\n";
    let request = StartRequest {
        dir: &vm.dir,
        template: &lima::template::Template::parse(template).unwrap().template,
        hints: &lima::instance::BootHints {
            location: "none".into(),
            arch: Arch::X86_64,
            disk_format: DiskFormat::Qcow2,
            root_bus: RootBus::Virtio,
            firmware: None,
        },
        ssh_local_port: vm.spec.ssh_local_port,
        accelerator: Some(Accelerator::Tcg),
    };
    contract::check(&vm.driver, &request).await;
}

#[tokio::test]
async fn machine_outlives_its_handle_and_is_adopted_unchanged() {
    let vm = Instance::new();
    assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
    assert!(vm.driver.adopt(&vm.dir).await.unwrap().is_none());

    let machine = vm.start().await;
    let identity = machine.identity().clone();
    let record = machine.record().clone();
    assert_eq!(machine.status().await.unwrap(), RunStatus::Running);
    drop(machine);

    assert_eq!(
        vm.driver.observe(&vm.dir).await,
        MachineState::Alive {
            identity: identity.clone()
        }
    );
    let adopted = vm.driver.adopt(&vm.dir).await.unwrap().expect("it runs");
    assert_eq!((adopted.identity(), adopted.record()), (&identity, &record));
    assert_eq!(adopted.status().await.unwrap(), RunStatus::Running);
    assert!(is_alive(&identity));

    let mut events = adopted.events();
    adopted.power_button().await.unwrap();
    adopted.quit().await.unwrap();
    let exit = exited(&adopted).await;
    assert_eq!(
        (exit.guest_powered_off, exit.reason.as_str()),
        (false, "QEMU ended on request")
    );
    let reason = "host-qmp-quit".to_owned();
    assert_eq!(
        events.recv().await.unwrap(),
        MachineEvent::ShuttingDown {
            guest: false,
            reason
        }
    );
    assert_eq!(events.recv().await.unwrap(), MachineEvent::Exited(exit));
    assert!(!is_alive(&identity));
    assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
    adopted.kill(PATIENCE).await.unwrap();
    vm.driver.destroy(&vm.dir, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn death_of_qemu_is_reported_with_its_status() {
    let vm = Instance::new();
    let machine = vm.start().await;
    Process::open(machine.identity())
        .unwrap()
        .unwrap()
        .signal(Signal::Kill)
        .unwrap();
    let exit = exited(&machine).await;
    assert!(!exit.guest_powered_off);
    assert!(
        exit.reason
            .starts_with("QEMU ended without a reason (signal: 9"),
        "{}",
        exit.reason
    );

    // The exit status of an adopted QEMU is unknown.
    let machine = vm.start().await;
    drop(machine);
    let adopted = vm.driver.adopt(&vm.dir).await.unwrap().unwrap();
    Process::open(adopted.identity())
        .unwrap()
        .unwrap()
        .signal(Signal::Kill)
        .unwrap();
    assert!(
        exited(&adopted)
            .await
            .reason
            .starts_with("QEMU ended without a reason")
    );
}

#[tokio::test]
async fn hung_qemu_counts_as_running_and_is_destroyed() {
    let vm = Instance::new();
    let machine = vm.start().await;
    let identity = machine.identity().clone();
    Process::open(&identity)
        .unwrap()
        .unwrap()
        .signal(Signal::Stop)
        .unwrap();
    drop(machine);
    // It still counts as running, because it holds its lock.
    assert_eq!(
        vm.driver.observe(&vm.dir).await,
        MachineState::Alive {
            identity: identity.clone()
        }
    );
    vm.driver.destroy(&vm.dir, PATIENCE).await.unwrap();
    assert!(!is_alive(&identity));
    assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
}

/// Hazard 15: a QEMU whose files were removed or overwritten is found by its lock and adopted by the spare names.
#[tokio::test]
async fn h18_qemu_without_sockets_and_record_is_adopted() {
    let vm = Instance::new();
    let machine = vm.start().await;
    let (identity, record) = (machine.identity().clone(), machine.record().clone());
    drop(machine);
    for spoil in ["removed", "overwritten"] {
        for path in [&vm.files.qmp_socket, &vm.files.agent_socket] {
            std::fs::remove_file(path).unwrap();
        }
        match spoil {
            "removed" => std::fs::remove_file(&vm.files.record).unwrap(),
            _ => std::fs::write(&vm.files.record, "{}").unwrap(),
        }
        let alive = MachineState::Alive {
            identity: identity.clone(),
        };
        assert_eq!(vm.driver.observe(&vm.dir).await, alive, "{spoil}");
        let adopted = vm.driver.adopt(&vm.dir).await.unwrap().expect("it runs");
        assert_eq!(adopted.identity(), &identity);
        assert_eq!(adopted.record().ssh_local_port, record.ssh_local_port);
        assert!(vm.files.qmp_socket.exists() && vm.files.agent_socket.exists());
        assert_eq!(adopted.status().await.unwrap(), RunStatus::Running);
        assert_eq!(
            vm.driver.last_record(&vm.dir).as_ref(),
            Some(adopted.record())
        );
    }

    // The process that started it died before it made the second names; adoption makes them.
    for path in [&vm.files.qmp_spare, &vm.files.agent_spare] {
        std::fs::remove_file(path).unwrap();
    }
    drop(vm.driver.adopt(&vm.dir).await.unwrap().expect("it runs"));
    assert!(vm.files.qmp_spare.exists() && vm.files.agent_spare.exists());

    // Another process, here the test itself, has taken the first name.
    std::fs::remove_file(&vm.files.qmp_socket).unwrap();
    let stranger = std::os::unix::net::UnixListener::bind(&vm.files.qmp_socket).unwrap();
    let adopted = vm.driver.adopt(&vm.dir).await.unwrap().expect("it runs");
    assert_eq!(adopted.identity(), &identity);
    assert_eq!(adopted.status().await.unwrap(), RunStatus::Running);
    drop((adopted, stranger));

    for path in [&vm.files.qmp_socket, &vm.files.qmp_spare] {
        std::fs::remove_file(path).unwrap();
    }
    let error = vm.driver.adopt(&vm.dir).await.map(drop).unwrap_err();
    assert!(
        error.to_string().contains("its control socket is gone"),
        "{error}"
    );
    vm.driver.destroy(&vm.dir, PATIENCE).await.unwrap();
    assert!(!is_alive(&identity));
    assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
}

#[tokio::test]
async fn h34_second_start_of_a_vm_is_refused() {
    let vm = Instance::new();
    let machine = vm.start().await;
    let error = vm.driver.start_machine(&vm.spec, &vm.files).await.map(drop);
    assert!(
        matches!(&error, Err(DriverError::StillRuns { lock, .. }) if *lock == vm.files.lock),
        "{error:?}"
    );
    assert_eq!(machine.status().await.unwrap(), RunStatus::Running);
    machine.kill(PATIENCE).await.unwrap();
    vm.start().await.kill(PATIENCE).await.unwrap();
}

/// Hazard 6: a process that listens on the control socket without holding the lock is not QEMU. Here it is the test itself.
#[tokio::test]
async fn h06_foreign_listener_on_the_control_socket_is_left_alone() {
    let vm = Instance::new();
    let stranger = std::os::unix::net::UnixListener::bind(&vm.files.qmp_socket).unwrap();
    assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
    assert!(vm.driver.adopt(&vm.dir).await.unwrap().is_none());
    vm.driver.destroy(&vm.dir, PATIENCE).await.unwrap();
    let machine = vm.start().await;
    machine.kill(PATIENCE).await.unwrap();
    drop(stranger);
}

/// Hazard 16: QEMU's locks on its disks end with it.
#[tokio::test]
async fn h16_killed_qemu_leaves_no_lock_on_its_disks() {
    let vm = Instance::new();
    for _ in 0..3 {
        let machine = vm.start().await;
        Process::open(machine.identity())
            .unwrap()
            .unwrap()
            .signal(Signal::Kill)
            .unwrap();
        exited(&machine).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn qemu_filters_its_own_system_calls() {
    let vm = Instance::new();
    let machine = vm.start().await;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", machine.identity().pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // 2 means a filter (proc_pid_status(5)).
    assert_eq!(
        (field("Seccomp:").as_str(), field("NoNewPrivs:").as_str()),
        ("2", "1")
    );
    machine.kill(PATIENCE).await.unwrap();
}

/// Two emulated CPUs run in parallel only in a QEMU that does that safely (`qemu/tcg_threads.rs`); otherwise there is a
/// warning. The programs are the real QEMU with other versions: one that prints 8.1, and one that prints none.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn emulated_cpus_run_in_parallel_only_in_new_versions() {
    let real = String::from_utf8(
        std::process::Command::new("qemu-system-x86_64")
            .arg("-version")
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    let (_, version) = real.split_once(" version ").unwrap();
    let old = ["5.", "6.", "7.", "8.0"]
        .iter()
        .any(|old| version.starts_with(old));
    let saying = |words: &str| format!("case \"$*\" in *-version) echo '{words}'; exit;; esac");
    let cases = [
        (None, old),
        (Some(saying("QEMU emulator version 8.1.0")), false),
        (Some(saying("QEMU emulator version 8.0.5")), true),
        (Some(saying("")), true),
    ];
    for (wrapped, takes_turns) in cases {
        let mut vm = Instance::new();
        vm.spec.cpus = 2;
        if let Some(answer) = &wrapped {
            vm.driver = Qemu::new(
                wrapper(vm._root.path(), answer),
                vm._root.path().join("cache"),
            );
        }
        let machine = vm.start().await;
        let words =
            std::fs::read_to_string(format!("/proc/{}/cmdline", machine.identity().pid())).unwrap();
        let thread = if takes_turns {
            "tcg,thread=single,tb-size=64"
        } else {
            "tcg,thread=multi,tb-size=64"
        };
        assert!(
            words.split('\0').any(|word| word == thread),
            "{wrapped:?}: {words}"
        );
        let warning = machine.record().accelerator_warning.clone();
        assert_eq!(
            warning.is_some_and(|w| w.contains("2 CPUs take turns")),
            takes_turns,
            "{wrapped:?}"
        );
        machine.quit().await.unwrap();
        exited(&machine).await;
    }
}

/// A folder with a `qemu-system-x86_64` that runs `first`, and then the real program.
#[cfg(target_os = "linux")]
fn wrapper(root: &Path, first: &str) -> std::ffi::OsString {
    use std::os::unix::fs::PermissionsExt as _;
    let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("qemu-system-x86_64"))
        .find(|program| program.is_file())
        .unwrap();
    let folder = root.join("bin");
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("qemu-system-x86_64");
    let script = format!("#!/bin/sh\n{first}\nexec '{}' \"$@\"\n", real.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.into_os_string()
}

/// Hazard 6: a PID in a file proves nothing.
#[tokio::test]
async fn h06_forged_record_harms_no_other_process() {
    let bystander = testutils::Bystander::new();
    let vm = Instance::new();
    let forge = |identity: String| {
        let record = format!(
            r#"{{"accelerator":"tcg","ssh_local_port":1,"started_at":1,"program":"/x","identity":{identity}}}"#
        );
        std::fs::write(&vm.files.record, record).unwrap();
    };
    let boot = process::identity::boot_id().unwrap();
    let own_start = Identity::of_current().unwrap().start_time();
    for identity in [
        format!(
            r#"{{"pid":{},"start_time":{},"boot_id":"{boot}"}}"#,
            bystander.pid(),
            own_start + 1_000_000
        ),
        format!(
            r#"{{"pid":{},"start_time":{own_start},"boot_id":"another boot"}}"#,
            bystander.pid()
        ),
        format!(r#"{{"pid":0,"start_time":0,"boot_id":"{boot}"}}"#),
        format!(r#"{{"pid":1,"start_time":0,"boot_id":"{boot}"}}"#),
        format!(r#"{{"pid":-1,"start_time":0,"boot_id":"{boot}"}}"#),
    ] {
        forge(identity);
        assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
        assert!(vm.driver.adopt(&vm.dir).await.unwrap().is_none());
        vm.driver.destroy(&vm.dir, PATIENCE).await.unwrap();
        bystander.assert_untouched();
    }
    // Neither the record nor stale sockets prevent a start (hazard 15).
    for socket in [&vm.files.qmp_socket, &vm.files.agent_socket] {
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    }
    let machine = vm.start().await;
    machine.kill(PATIENCE).await.unwrap();
    assert!(!is_alive(machine.identity()));
}

#[tokio::test]
async fn failed_start_shows_qemus_message_and_leaves_no_process() {
    async fn failure(vm: &Instance) -> String {
        let error = vm
            .driver
            .start_machine(&vm.spec, &vm.files)
            .await
            .map(drop)
            .unwrap_err()
            .to_string();
        assert_eq!(vm.driver.observe(&vm.dir).await, MachineState::Absent);
        error
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut vm = Instance::new();
    vm.spec.ssh_local_port = taken.local_addr().unwrap().port();
    let error = failure(&vm).await;
    assert!(
        error.contains(&format!(
            "port {} of 127.0.0.1 is in use",
            vm.spec.ssh_local_port
        )),
        "{error}"
    );

    let mut vm = Instance::new();
    vm.spec.disks[0].format = DiskFormat::Qcow2;
    let error = failure(&vm).await;
    assert!(
        error.contains("ended at once (exit status: 1)") && error.contains("not in qcow2 format"),
        "{error}"
    );

    let mut vm = Instance::new();
    vm.driver = Qemu::new("/nonexistent", vm.files.record.parent().unwrap());
    let error = failure(&vm).await;
    assert!(
        error.contains("cannot find qemu-system-x86_64 in \"/nonexistent\": install QEMU"),
        "{error}"
    );

    // The same machine starts once the cause is gone.
    let mut vm = Instance::new();
    vm.spec.ssh_local_port = taken.local_addr().unwrap().port();
    failure(&vm).await;
    drop(taken);
    vm.start().await.kill(PATIENCE).await.unwrap();
}
