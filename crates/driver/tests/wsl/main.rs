//! The life of a WSL2 distribution, with a stand-in for WSL: `wsl.exe` is the script beside this file, which keeps its
//! state in files, deadlocks as the real one does, and notes what it is told. That the real one behaves like this is
//! not proved here.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helper functions too"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use driver::wsl::{Distro, Ended, Limits, State, Wsl, WslError};
use process::crash;
use process::spawn::Spawn;
use tempfile::TempDir;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "rdd-web";

/// A stand-in WSL of one test.
struct World {
    folder: TempDir,
    wsl: Wsl,
    distro: Distro,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        for name in ["registered", "running", "fault"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (program, image) = (folder.path().join("wsl.exe"), folder.path().join("image"));
        write_program(&program);
        std::fs::write(&image, "an image").unwrap();
        World {
            wsl: Wsl::new(&program, limits()),
            distro: Distro {
                name: NAME.to_owned(),
                folder: folder.path().join("a [1] distro"),
                image,
            },
            folder,
        }
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

    /// The first words of what WSL was told to change, lists left out.
    fn changes(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let verbs = calls.lines().filter_map(|line| line.split(' ').next());
        verbs
            .filter(|verb| *verb != "--list")
            .map(str::to_owned)
            .collect()
    }

    fn runs(&self) -> bool {
        self.path("running").join(NAME).exists()
    }

    fn is_registered(&self) -> bool {
        self.path("registered").join(NAME).exists()
    }

    fn disk(&self) -> PathBuf {
        self.distro.folder.join("ext4.vhdx")
    }

    /// The service was not restarted behind the user's back, nor all distributions shut down.
    fn assert_nothing_drastic(&self) {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        assert!(!calls.contains("--shutdown"), "{calls}");
    }

    /// Runs the distribution until it is ready, then does `what`.
    async fn while_it_runs<T>(
        &self,
        what: impl AsyncFnOnce(oneshot::Sender<()>) -> T,
    ) -> (Result<Ended, WslError>, T) {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = self.wsl.run(&self.distro, ready, async {
            let _ = stopped.await;
        });
        tokio::join!(run, async {
            tokio::time::timeout(PATIENCE, is_ready)
                .await
                .unwrap()
                .unwrap();
            // What keeps it awake is in there too.
            testutils::poll_async(PATIENCE, "sleep", async || {
                if self.path("held").exists() {
                    Ok(())
                } else {
                    Err("not yet")
                }
            })
            .await;
            assert!(self.runs());
            what(stop).await
        })
    }
}

/// By a copy: a file that a test thread has open for writing while another forks could not be executed ("text file
/// busy"), and `cp` is a process of its own.
fn write_program(path: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wsl/wsl.exe");
    let copied = Command::new("cp").arg("-p").arg(source).arg(path).status();
    assert!(copied.unwrap().success());
}

/// Generous for what ends, short for what is to hang.
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
async fn stand_in_wsl_registers_runs_stops_and_unregisters() {
    let world = World::new();
    let (wsl, distro) = (&world.wsl, &world.distro);
    assert_eq!(wsl.state(distro).await.unwrap(), State::Absent);
    wsl.register(distro).await.unwrap();
    assert_eq!(wsl.state(distro).await.unwrap(), State::Stopped);
    assert_eq!(
        std::fs::read_to_string(world.disk()).unwrap(),
        "made of an image\n"
    );
    // Again: nothing to do.
    wsl.register(distro).await.unwrap();
    assert_eq!(world.changes(), ["--import"]);

    let (ended, state) = world
        .while_it_runs(async |stop| {
            let state = wsl.state(distro).await.unwrap();
            drop(stop);
            state
        })
        .await;
    assert_eq!((ended.unwrap(), state), (Ended::Stopped, State::Running));
    assert_eq!(wsl.state(distro).await.unwrap(), State::Stopped);

    wsl.unregister(distro).await.unwrap();
    assert!(!world.is_registered() && !world.disk().exists());
    // Gone is success.
    wsl.unregister(distro).await.unwrap();
    wsl.terminate(distro).await.unwrap();
}

#[tokio::test]
async fn stand_in_wsl_of_before_utf8_is_understood() {
    let world = World::new();
    world.fault("old");
    world.wsl.register(&world.distro).await.unwrap();
    assert_eq!(
        world.wsl.state(&world.distro).await.unwrap(),
        State::Stopped
    );
    world.fault("boot");
    let (ready, _) = oneshot::channel();
    let error = world.wsl.run(&world.distro, ready, std::future::pending());
    let error = error.await.unwrap_err().to_string();
    assert!(
        error.contains("Wsl/Service/CreateInstance/E_FAIL"),
        "{error}"
    );
}

#[tokio::test]
async fn stand_in_wsl_that_does_not_answer_is_no_empty_list() {
    let world = World::new();
    world.fault("list");
    let error = world.wsl.state(&world.distro).await.unwrap_err();
    assert!(error.to_string().contains("0x80070422"), "{error}");
    assert!(world.wsl.register(&world.distro).await.is_err());
    assert!(world.changes().is_empty());
    let none = Wsl::new(world.path("no-such.exe"), limits());
    let error = none.state(&world.distro).await.unwrap_err().to_string();
    assert!(error.contains("wsl --install"), "{error}");
}

#[tokio::test]
async fn h39_stand_in_wsl_is_told_to_terminate_before_it_is_told_to_unregister() {
    let world = World::new();
    let (ended, (unregistered, _stop)) = world
        .while_it_runs(async |stop| (world.wsl.unregister(&world.distro).await, stop))
        .await;
    unregistered.unwrap();
    assert_eq!(ended.unwrap(), Ended::ByItself);
    assert!(!world.is_registered() && !world.path("deadlocked").exists());
    let changes = world.changes();
    let at = |verb: &str| changes.iter().position(|change| change == verb).unwrap();
    assert!(at("--terminate") < at("--unregister"), "{changes:?}");
}

#[tokio::test]
async fn h39_stand_in_wsl_that_hangs_is_left_alone_and_a_restart_of_its_service_is_offered() {
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
        // Nothing was sent after the command that hung, and the disk is there.
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
async fn h39_stand_in_wsl_that_terminates_in_name_only_is_not_told_to_unregister() {
    let world = World::new();
    let (ended, error) = world
        .while_it_runs(async |stop| {
            world.fault("terminate-does-nothing");
            let error = world.wsl.unregister(&world.distro).await.unwrap_err();
            world.repaired();
            drop(stop);
            error.to_string()
        })
        .await;
    assert!(error.contains("runs on"), "{error}");
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert!(!world.changes().contains(&"--unregister".to_owned()));
}

#[tokio::test]
async fn h40_stand_in_wsl_has_terminated_whichever_way_it_stopped() {
    // It ends by itself.
    let world = World::new();
    let (ended, _stop) = world
        .while_it_runs(async |stop| {
            std::fs::remove_file(world.path("running").join(NAME)).unwrap();
            stop
        })
        .await;
    assert_eq!(ended.unwrap(), Ended::ByItself);
    assert_eq!(world.changes().last().unwrap(), "--terminate");

    // It ran before, and it cannot be told whether it is registered.
    let world = World::new();
    world.wsl.register(&world.distro).await.unwrap();
    std::fs::write(world.path("running").join(NAME), "").unwrap();
    world.fault("list");
    let (ready, _) = oneshot::channel();
    let run = world.wsl.run(&world.distro, ready, std::future::pending());
    run.await.unwrap_err();
    assert!(!world.runs());

    // It does not end when it is told to: then nobody says that it has.
    let world = World::new();
    let (ended, ()) = world
        .while_it_runs(async |stop| {
            world.fault("terminate-does-nothing");
            drop(stop);
        })
        .await;
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("runs on"), "{error}");

    // Its boot fails, or hangs.
    for (fault, hangs) in [("boot", false), ("boot-hangs", true)] {
        let world = World::new();
        world.fault(fault);
        let boot = if hangs { SHORT * 4 } else { PATIENCE };
        let wsl = Wsl::new(world.path("wsl.exe"), Limits { boot, ..limits() });
        let (ready, _) = oneshot::channel();
        let run = wsl.run(&world.distro, ready, std::future::pending());
        let error = run.await.unwrap_err();
        assert_eq!(matches!(error, WslError::TimedOut { .. }), hangs, "{error}");
        assert!(!error.offers_service_restart() && !world.runs(), "{fault}");
        assert_eq!(world.changes().last().unwrap(), "--terminate", "{fault}");
    }

    // It is asked to stop while it boots.
    let world = World::new();
    world.fault("boot-hangs");
    let (ready, _) = oneshot::channel();
    let ran = world.wsl.run(&world.distro, ready, async {
        testutils::poll_async(PATIENCE, "the boot", async || {
            if world.runs() { Ok(()) } else { Err("not yet") }
        })
        .await;
    });
    assert_eq!(ran.await.unwrap(), Ended::Stopped);
    assert!(!world.runs());
}

#[tokio::test]
async fn h40_stand_in_wsl_has_terminated_when_the_caller_was_cancelled() {
    let world = World::new();
    let (ready, is_ready) = oneshot::channel();
    let (wsl, distro) = (world.wsl.clone(), world.distro.clone());
    let caller = tokio::spawn(async move { wsl.run(&distro, ready, std::future::pending()).await });
    tokio::time::timeout(PATIENCE, is_ready)
        .await
        .unwrap()
        .unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    testutils::poll_async(PATIENCE, "the end", async || {
        if world.runs() {
            Err("it runs on")
        } else {
            Ok(())
        }
    })
    .await;
    assert_eq!(world.changes().last().unwrap(), "--terminate");
}

#[tokio::test]
async fn h41_stand_in_wsl_that_lost_a_disk_imports_it_again() {
    let world = World::new();
    world.wsl.register(&world.distro).await.unwrap();
    std::fs::remove_file(world.disk()).unwrap();
    assert_eq!(world.wsl.state(&world.distro).await.unwrap(), State::Broken);
    let (ended, ()) = world.while_it_runs(async |stop| drop(stop)).await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert!(world.disk().is_file());
    let expected = ["--import", "--terminate", "--unregister", "--import"];
    assert_eq!(world.changes()[..4], expected);

    // A disk of which WSL knows nothing is in the way of an import, and nobody's.
    let world = World::new();
    std::fs::create_dir(&world.distro.folder).unwrap();
    std::fs::write(world.disk(), "half an import").unwrap();
    world.wsl.register(&world.distro).await.unwrap();
    let disk = std::fs::read_to_string(world.disk()).unwrap();
    assert_eq!(disk, "made of an image\n");

    // An import that makes no disk is no success, and the next one begins anew.
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
async fn h41_stand_in_wsl_whose_import_hung_imports_again_and_a_whole_disk_is_never_thrown_away() {
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

    std::fs::write(world.disk(), "what the user made of it").unwrap();
    world.wsl.register(&world.distro).await.unwrap();
    let (ended, ()) = world.while_it_runs(async |stop| drop(stop)).await;
    ended.unwrap();
    assert_eq!(
        std::fs::read_to_string(world.disk()).unwrap(),
        "what the user made of it"
    );
}

/// Not a test: registers in a process that dies at a crash point.
#[tokio::test]
async fn register_in_a_child() {
    if let Some(folder) = std::env::var_os("WSL_TEST_FOLDER") {
        let folder = PathBuf::from(folder);
        let distro = Distro {
            name: NAME.to_owned(),
            folder: folder.join("a [1] distro"),
            image: folder.join("image"),
        };
        let wsl = Wsl::new(folder.join("wsl.exe"), limits());
        wsl.register(&distro).await.unwrap();
    }
}

#[tokio::test]
async fn h41_stand_in_wsl_converges_after_a_kill_at_each_step_of_an_import() {
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
