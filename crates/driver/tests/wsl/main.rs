//! The life of a WSL2 distribution with a fake WSL: `wsl.exe` is the script beside this file, which keeps its state in
//! files, deadlocks as the real one does, and logs its calls. These tests do not prove that the real WSL behaves like
//! this.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails, in its helper functions too"
)]

#[path = "../contract/mod.rs"]
mod contract;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use driver::wsl::{Distro, Limits, State, Wsl, WslDriver, WslError};
use driver::{Driver, DriverError, Exit, Machine, MachineState, StartRequest};
use lima::image::{DiskFormat, RootBus};
use lima::instance::BootHints;
use lima::layout::InstanceDir;
use lima::template::{Arch, Template};
use process::crash;
use process::spawn::Spawn;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The fake WSL of one test.
struct World {
    folder: TempDir,
    dir: InstanceDir,
    wsl: Wsl,
    distro: Distro,
    template: Template,
    hints: BootHints,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        for name in ["registered", "running", "fault"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let program = folder.path().join("wsl.exe");
        write_program(&program);
        let dir = instance(folder.path());
        std::fs::create_dir(dir.path()).unwrap();
        std::fs::write(dir.base_disk(), "an image").unwrap();
        World {
            wsl: Wsl::new(&program, limits()),
            distro: Distro::of(&dir),
            dir,
            folder,
            template: Template::parse("vmType: wsl2\nimages: []\n")
                .unwrap()
                .template,
            hints: BootHints {
                location: "image".into(),
                arch: Arch::X86_64,
                disk_format: DiskFormat::Raw,
                root_bus: RootBus::default(),
                firmware: None,
            },
        }
    }

    fn driver(&self) -> WslDriver {
        WslDriver::with(self.wsl.clone())
    }

    fn request(&self) -> StartRequest<'_> {
        StartRequest {
            dir: &self.dir,
            template: &self.template,
            hints: &self.hints,
            ssh_local_port: 60022,
            accelerator: None,
        }
    }

    /// Starts the machine and waits until its keeper runs in the distribution.
    async fn start(&self) -> Arc<dyn Machine> {
        let machine = self.driver().start(&self.request()).await.unwrap();
        testutils::poll_async(PATIENCE, "sleep", async || {
            if self.path("held").exists() {
                Ok(())
            } else {
                Err("not yet")
            }
        })
        .await;
        assert!(self.runs());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fault(&self, name: &str) {
        std::fs::write(self.path("fault").join(name), "").unwrap();
    }

    fn repaired(&self) {
        for entry in std::fs::read_dir(self.path("fault")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// Returns the first words of the commands that change something.
    fn changes(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let verbs = calls.lines().filter_map(|line| line.split(' ').next());
        verbs
            .filter(|verb| *verb != "--list")
            .map(str::to_owned)
            .collect()
    }

    fn runs(&self) -> bool {
        self.path("running").join(&self.distro.name).exists()
    }

    fn is_registered(&self) -> bool {
        self.path("registered").join(&self.distro.name).exists()
    }

    fn disk(&self) -> PathBuf {
        self.distro.folder.join("ext4.vhdx")
    }

    /// Asserts that the user's other distributions were not shut down.
    fn assert_nothing_drastic(&self) {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        assert!(!calls.contains("--shutdown"), "{calls}");
    }
}

/// The instance in a test's folder.
fn instance(folder: &Path) -> InstanceDir {
    InstanceDir::at(folder.join("a [1] vm"), "vm")
}

async fn exited(machine: &Arc<dyn Machine>) -> Exit {
    tokio::time::timeout(PATIENCE, machine.exited())
        .await
        .expect("the distribution does not end")
}

/// Copies the script with `cp`, because a file that one test thread has open for writing while another one forks cannot
/// be executed ("text file busy").
fn write_program(path: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wsl/wsl.exe");
    let copied = Command::new("cp").arg("-p").arg(source).arg(path).status();
    assert!(copied.unwrap().success());
}

/// Generous limits; tests of commands that hang use [`SHORT`].
fn limits() -> Limits {
    Limits {
        list: PATIENCE,
        import: PATIENCE,
        boot: PATIENCE,
        terminate: PATIENCE,
        unregister: PATIENCE,
    }
}

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn fake_wsl_registers_runs_stops_and_unregisters() {
    let world = World::new();
    let (wsl, distro) = (&world.wsl, &world.distro);
    assert_eq!(wsl.state(distro).await.unwrap(), State::Absent);
    wsl.register(distro).await.unwrap();
    assert_eq!(wsl.state(distro).await.unwrap(), State::Stopped);
    assert_eq!(
        std::fs::read_to_string(world.disk()).unwrap(),
        "made of an image\n"
    );
    // Registering again is a no-op.
    wsl.register(distro).await.unwrap();
    assert_eq!(world.changes(), ["--import"]);

    let machine = world.start().await;
    assert_eq!(wsl.state(distro).await.unwrap(), State::Running);
    machine.quit().await.unwrap();
    let exit = exited(&machine).await;
    assert!(exit.reason.contains("terminated on request"), "{exit:?}");
    assert_eq!(wsl.state(distro).await.unwrap(), State::Stopped);

    wsl.unregister(distro).await.unwrap();
    assert!(!world.is_registered() && !world.disk().exists());
    // Repeating the two commands succeeds.
    wsl.unregister(distro).await.unwrap();
    wsl.terminate(distro).await.unwrap();
}

#[tokio::test]
async fn fake_wsl_without_utf8_is_decoded() {
    let world = World::new();
    world.fault("old");
    world.wsl.register(&world.distro).await.unwrap();
    assert_eq!(
        world.wsl.state(&world.distro).await.unwrap(),
        State::Stopped
    );
    world.fault("boot");
    let error = world.wsl.start(&world.distro).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("Wsl/Service/CreateInstance/E_FAIL"),
        "{error}"
    );
}

#[tokio::test]
async fn fake_wsl_failure_is_not_an_empty_list() {
    let world = World::new();
    world.fault("list");
    let error = world.wsl.state(&world.distro).await.unwrap_err();
    assert!(error.to_string().contains("0x80070422"), "{error}");
    assert!(world.wsl.register(&world.distro).await.is_err());
    assert!(world.changes().is_empty());
    let seen = world.driver().observe(&world.dir).await;
    assert!(matches!(seen, MachineState::Unknown { .. }), "{seen:?}");
}

#[tokio::test]
async fn h39_fake_wsl_is_terminated_before_unregistered() {
    let world = World::new();
    let machine = world.start().await;
    world.wsl.unregister(&world.distro).await.unwrap();
    let exit = exited(&machine).await;
    assert!(exit.reason.contains("ended by itself"), "{exit:?}");
    assert!(!world.is_registered() && !world.path("deadlocked").exists());
    let changes = world.changes();
    let at = |verb: &str| changes.iter().position(|change| change == verb).unwrap();
    assert!(at("--terminate") < at("--unregister"), "{changes:?}");
}

#[tokio::test]
async fn h39_fake_wsl_that_hangs_gets_no_more_commands_and_the_error_offers_a_restart() {
    for (fault, expected) in [
        ("terminate-hangs", vec!["--import", "--terminate"]),
        (
            "unregister-hangs",
            vec!["--import", "--terminate", "--unregister"],
        ),
    ] {
        let world = World::new();
        world.wsl.register(&world.distro).await.unwrap();
        world.fault(fault);
        let limits = Limits {
            terminate: if fault == "terminate-hangs" {
                SHORT
            } else {
                PATIENCE
            },
            unregister: SHORT,
            ..limits()
        };
        let wsl = Wsl::new(world.path("wsl.exe"), limits);
        let error = wsl.unregister(&world.distro).await.unwrap_err();
        assert!(error.offers_service_restart(), "{error}");
        assert!(
            error.to_string().contains("Restart-Service WSLService"),
            "{error}"
        );
        // No command followed the one that hung, and the disk is still there.
        assert_eq!(world.changes(), expected);
        assert!(world.is_registered() && world.disk().is_file());
        world.assert_nothing_drastic();
        if fault == "terminate-hangs" {
            world.repaired();
            world.wsl.unregister(&world.distro).await.unwrap();
        }
    }
}

#[tokio::test]
async fn h39_fake_wsl_that_does_not_terminate_is_not_unregistered() {
    let world = World::new();
    let machine = world.start().await;
    world.fault("terminate-does-nothing");
    let error = world.wsl.unregister(&world.distro).await.unwrap_err();
    assert!(error.to_string().contains("still runs"), "{error}");
    world.repaired();
    machine.kill(PATIENCE).await.unwrap();
    assert!(!world.changes().contains(&"--unregister".to_owned()));
}

#[tokio::test]
async fn machine_without_wsl_is_absent_and_can_be_destroyed() {
    let world = World::new();
    let none = Wsl::new(world.path("none.exe"), limits());
    let error = none.register(&world.distro).await.unwrap_err().to_string();
    assert!(error.contains("wsl --install"), "{error}");
    let driver = WslDriver::with(none);
    assert_eq!(driver.observe(&world.dir).await, MachineState::Absent);
    driver.destroy(&world.dir, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn fake_wsl_keeps_the_contract_of_drivers() {
    let world = World::new();
    contract::check(&world.driver(), &world.request()).await;
    world.assert_nothing_drastic();
}

#[tokio::test]
async fn h40_fake_wsl_is_terminated_however_a_machine_ends() {
    // A distribution that ends by itself.
    let world = World::new();
    let machine = world.start().await;
    std::fs::remove_file(world.path("running").join(&world.distro.name)).unwrap();
    let exit = exited(&machine).await;
    assert!(exit.reason.contains("ended by itself"), "{exit:?}");
    assert_eq!(world.changes().last().unwrap(), "--terminate");

    // A distribution that ran before the start, while the list of distributions cannot be read.
    let world = World::new();
    world.wsl.register(&world.distro).await.unwrap();
    std::fs::write(world.path("running").join(&world.distro.name), "").unwrap();
    world.fault("list");
    world.wsl.start(&world.distro).await.unwrap_err();
    assert!(!world.runs());

    // A distribution that cannot be terminated is not reported as ended.
    let world = World::new();
    let machine = world.start().await;
    world.fault("terminate-does-nothing");
    let error = machine.quit().await.unwrap_err().to_string();
    assert!(error.contains("still runs"), "{error}");
    let seen = world.driver().observe(&world.dir).await;
    assert!(matches!(seen, MachineState::Alive { .. }), "{seen:?}");
    world.repaired();
    machine.quit().await.unwrap();

    // A boot that fails, and one that hangs.
    for (fault, hangs) in [("boot", false), ("boot-hangs", true)] {
        let world = World::new();
        world.fault(fault);
        let boot = if hangs { SHORT * 4 } else { PATIENCE };
        let wsl = Wsl::new(world.path("wsl.exe"), Limits { boot, ..limits() });
        let error = wsl.start(&world.distro).await.unwrap_err();
        assert_eq!(matches!(error, WslError::TimedOut { .. }), hangs, "{error}");
        assert!(!error.offers_service_restart() && !world.runs(), "{fault}");
        assert_eq!(world.changes().last().unwrap(), "--terminate", "{fault}");
    }

    // The start is cancelled during the boot, and the driver destroys what it left.
    let world = World::new();
    world.fault("boot-hangs");
    let driver = world.driver();
    let request = world.request();
    tokio::select! {
        started = driver.start(&request) => panic!("{started:?}"),
        () = testutils::poll_async(PATIENCE, "the boot", async || {
            if world.runs() { Ok(()) } else { Err("not yet") }
        }) => {}
    }
    driver.destroy(&world.dir, PATIENCE).await.unwrap();
    assert!(!world.runs());
}

#[tokio::test]
async fn fake_wsl_machine_without_its_keeper_is_adopted_with_a_new_one() {
    let world = World::new();
    let machine = world.start().await;
    let keeper = machine.identity().clone();
    // The handle is dropped first, so that its watcher does not terminate the distribution.
    drop(machine);
    let process = process::Process::open(&keeper).unwrap().unwrap();
    process.signal(process::Signal::Kill).unwrap();
    testutils::poll_async(PATIENCE, "the keeper's end", async || {
        match world.driver().observe(&world.dir).await {
            MachineState::Unknown { reason } => Ok(reason),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let adopted = world.driver().adopt(&world.dir).await.unwrap().unwrap();
    assert_ne!(adopted.identity(), &keeper);
    let seen = world.driver().observe(&world.dir).await;
    assert!(matches!(seen, MachineState::Alive { .. }), "{seen:?}");
    let error = adopted.power_button().await.unwrap_err();
    assert!(matches!(error, DriverError::Unsupported { .. }), "{error}");
    adopted.quit().await.unwrap();
}

#[tokio::test]
async fn h41_fake_wsl_without_its_disk_is_imported_again() {
    let world = World::new();
    world.wsl.register(&world.distro).await.unwrap();
    std::fs::remove_file(world.disk()).unwrap();
    assert_eq!(world.wsl.state(&world.distro).await.unwrap(), State::Broken);
    world.start().await.quit().await.unwrap();
    assert!(world.disk().is_file());
    let expected = ["--import", "--terminate", "--unregister", "--import"];
    assert_eq!(world.changes()[..4], expected);

    // A disk that WSL does not know is a left-over in the way of an import.
    let world = World::new();
    std::fs::create_dir(&world.distro.folder).unwrap();
    std::fs::write(world.disk(), "half an import").unwrap();
    world.wsl.register(&world.distro).await.unwrap();
    let disk = std::fs::read_to_string(world.disk()).unwrap();
    assert_eq!(disk, "made of an image\n");

    // An import that makes no disk fails, and the next one starts from the beginning.
    let world = World::new();
    world.fault("no-disk");
    let error = world.wsl.register(&world.distro).await.unwrap_err();
    assert!(error.to_string().contains("has no disk"), "{error}");
    world.repaired();
    world.wsl.register(&world.distro).await.unwrap();
    assert_eq!(
        world.wsl.state(&world.distro).await.unwrap(),
        State::Stopped
    );
}

#[tokio::test]
async fn h41_fake_wsl_repeats_an_import_that_hung_and_keeps_a_complete_disk() {
    let world = World::new();
    world.fault("import-hangs");
    let short = Wsl::new(
        world.path("wsl.exe"),
        Limits {
            import: SHORT * 4,
            ..limits()
        },
    );
    let error = short.register(&world.distro).await.unwrap_err();
    assert!(matches!(error, WslError::TimedOut { .. }), "{error}");
    assert_eq!(world.wsl.state(&world.distro).await.unwrap(), State::Broken);
    world.repaired();
    world.wsl.register(&world.distro).await.unwrap();

    std::fs::write(world.disk(), "the user's data").unwrap();
    world.wsl.register(&world.distro).await.unwrap();
    world.start().await.quit().await.unwrap();
    assert_eq!(
        std::fs::read_to_string(world.disk()).unwrap(),
        "the user's data"
    );
}

/// Registers in a process that dies at a crash point. Does nothing when it runs as a test.
#[tokio::test]
async fn register_in_a_child() {
    if let Some(folder) = std::env::var_os("WSL_TEST_FOLDER") {
        let folder = PathBuf::from(folder);
        let distro = Distro::of(&instance(&folder));
        let wsl = Wsl::new(folder.join("wsl.exe"), limits());
        wsl.register(&distro).await.unwrap();
    }
}

#[tokio::test]
async fn h41_fake_wsl_import_converges_after_a_kill_at_each_step() {
    for point in [
        "file.created",
        "file.renamed",
        "wsl.after-mark",
        "wsl.after-import",
    ] {
        let world = World::new();
        let mut child = Spawn::new(std::env::current_exe().unwrap())
            .args(["--exact", "register_in_a_child"])
            .env("WSL_TEST_FOLDER", world.folder.path())
            .env(crash::VARIABLE, point)
            .spawn()
            .unwrap();
        let ended = child.wait_async(std::time::Instant::now() + PATIENCE).await;
        assert!(
            matches!(ended, process::Exit::Exited(Some(status)) if status.code().is_none()),
            "{point}: {ended:?}"
        );
        assert_ne!(
            world.wsl.state(&world.distro).await.unwrap(),
            State::Stopped,
            "{point}"
        );
        world.wsl.register(&world.distro).await.unwrap();
        assert_eq!(
            world.wsl.state(&world.distro).await.unwrap(),
            State::Stopped,
            "{point}"
        );
        assert!(world.disk().is_file(), "{point}");
    }
}
