//! An instance whose guest is a PC with an empty disk: it boots no system and ignores its power button. Its `ssh` is a
//! script, so that a test controls whether logins work.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver::{Driver, MachineState};
use hostagent::client::{self, AgentState, Client, Observation, SpawnOptions, observe};
use hostagent::status::{Info, Phase};
use lima::layout::InstanceDir;
use process::{Identity, Process, Signal};

/// The deadline for steps that take a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One VM. Its processes and files are removed when it is dropped.
pub(crate) struct Vm {
    root: tempfile::TempDir,
    /// Its folder.
    pub(crate) dir: InstanceDir,
    /// The readiness limit, in seconds.
    pub(crate) ready: u64,
    /// The default grace period, in seconds.
    pub(crate) grace: u64,
    /// How often health is checked, in seconds.
    pub(crate) health: u64,
    /// The crash point of the next hostagents.
    pub(crate) crash_point: Option<&'static str>,
}

impl Vm {
    pub(crate) fn new() -> Vm {
        let root = tempfile::tempdir().unwrap();
        // In a folder whose name breaks code that forgets to quote.
        let dir = InstanceDir::at(root.path().join("a[1] *b,é").join("vm"), "vm");
        std::fs::create_dir_all(dir.path()).unwrap();
        let template = "vmType: qemu\narch: x86_64\ncpus: 1\nmemory: 64MiB\ndisk: 1GiB\n\
                        images: [{location: /dev/null, arch: x86_64}]\n\
                        user: {name: dev, uid: 1000, home: /home/dev.guest, shell: /bin/bash}\n";
        std::fs::write(dir.lima_yaml(), template).unwrap();
        let hints = r#"{"location":"none","arch":"x86_64","diskFormat":"qcow2"}"#;
        std::fs::write(dir.image_json(), hints).unwrap();
        process::command::Run::new("qemu-img", PATIENCE)
            .args(["create", "-q", "-f", "qcow2"])
            .arg(dir.diff_disk())
            .arg("1M")
            .run()
            .unwrap();
        std::fs::create_dir(root.path().join("bin")).unwrap();
        let vm = Vm {
            root,
            dir,
            ready: 600,
            grace: 1,
            health: 1,
            crash_point: None,
        };
        vm.set_ssh("echo no route >&2; exit 255");
        vm
    }

    /// The file with the offset of this host's clock in seconds, for the hostagents of [`Vm::spawn`].
    fn host_clock(&self) -> PathBuf {
        self.root.path().join("host-clock")
    }

    /// Sets the offset of this host's clock.
    pub(crate) fn set_host_clock(&self, seconds: u64) {
        let aside = self.root.path().join("host-clock.new");
        std::fs::write(&aside, seconds.to_string()).unwrap();
        std::fs::rename(aside, self.host_clock()).unwrap();
    }

    /// Replaces `ssh` by a script.
    pub(crate) fn set_ssh(&self, script: &str) {
        self.set_program("ssh", script);
    }

    /// Replaces QEMU by a script when it is to run a machine; `$QEMU` is the real one.
    pub(crate) fn set_qemu(&self, script: &str) {
        let name = "qemu-system-x86_64";
        let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(name))
            .find(|path| path.exists())
            .unwrap();
        let text = format!(
            "QEMU={}\ncase \"$*\" in *-version) exit 0;; esac\n{script}",
            real.display()
        );
        self.set_program(name, &text);
    }

    pub(crate) fn set_program(&self, name: &str, script: &str) {
        let bin = self.root.path().join("bin");
        std::fs::write(bin.join("new"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(bin.join("new"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::rename(bin.join("new"), bin.join(name)).unwrap();
    }

    /// The VM's process as its driver observes it.
    pub(crate) async fn machine(&self) -> MachineState {
        driver::qemu::Qemu::new("", self.dir.path())
            .observe(&self.dir)
            .await
    }

    /// How the VM was started last.
    pub(crate) fn record(&self) -> driver::MachineRecord {
        driver::qemu::Qemu::new("", self.dir.path())
            .last_record(&self.dir)
            .unwrap()
    }

    /// Waits until the VM has a process, even if it does not answer yet.
    pub(crate) async fn wait_for_process(&self) -> Identity {
        testutils::poll_async(PATIENCE, "the VM's process", async || {
            match self.machine().await {
                MachineState::Alive { identity } => Ok(identity),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        })
        .await
    }

    fn args(&self) -> Vec<OsString> {
        let mut path = self.root.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        vec![
            self.root.path().join("a[1] *b,é").into(),
            self.dir.name().into(),
            path,
            self.ready.to_string().into(),
            self.grace.to_string().into(),
            self.health.to_string().into(),
        ]
    }

    /// Starts a hostagent, as the daemon does.
    pub(crate) async fn spawn(&self) -> Identity {
        let options = SpawnOptions {
            args: self.args(),
            env: self
                .crash_point
                .iter()
                .map(|point| (process::crash::VARIABLE.into(), point.into()))
                .chain([("HOST_CLOCK".into(), self.host_clock().into())])
                .collect(),
            ..SpawnOptions::default()
        };
        client::spawn(
            Path::new(env!("CARGO_BIN_EXE_hostagent-under-test")),
            &self.dir,
            &options,
        )
        .await
        .unwrap()
    }

    /// Starts a hostagent as a child, whose exit status can be waited for.
    pub(crate) fn spawn_child(&self) -> process::spawn::Child {
        let log = std::fs::File::create(self.dir.ha_stderr_log()).unwrap();
        process::spawn::Spawn::new(env!("CARGO_BIN_EXE_hostagent-under-test"))
            .args(self.args())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Starts a hostagent and waits until its VM runs.
    pub(crate) async fn boot(&self) -> Info {
        self.spawn().await;
        self.wait_for("the VM to run", |info| {
            info.phase == Phase::Booting && info.qemu.is_some()
        })
        .await
    }

    pub(crate) async fn wait_for(&self, what: &str, wanted: impl Fn(&Info) -> bool) -> Info {
        testutils::poll_async(PATIENCE, what, async || match observe(&self.dir).await {
            Observation {
                info: Some(info), ..
            } if wanted(&info) => Ok(info),
            // The hostagent died before; its log has the reason.
            Observation {
                agent: AgentState::Absent,
                ..
            } if self.log().contains("ERROR") => panic!("{}", self.log()),
            other => Err(format!("{other:?}\n{}", self.log())),
        })
        .await
    }

    pub(crate) async fn client(&self) -> Client {
        testutils::poll_async(PATIENCE, "ha.sock", async || {
            Client::connect(&self.dir).await
        })
        .await
    }

    /// Waits until the lock is free, at most `limit`.
    pub(crate) async fn gone_within(&self, limit: Duration) {
        if let Err(error) = client::wait_gone(&self.dir, limit).await {
            panic!("{error}\n{}", self.log());
        }
        assert_eq!(observe(&self.dir).await.agent, AgentState::Absent);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.ha_stderr_log()).unwrap_or_default()
    }

    pub(crate) fn assert_no_sockets(&self) {
        for path in [
            self.dir.ha_sock(),
            self.dir.ha_pid(),
            self.dir.qmp_sock(),
            self.dir.ga_sock(),
        ] {
            assert!(
                !path.exists(),
                "{} was left behind\n{}",
                path.display(),
                self.log()
            );
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // The hostagent first, so that it does not remove files in a folder that is being removed.
        if let Ok(process::lock::Holder::Held(Some(holder))) =
            process::lock::holder(&self.dir.ha_lock())
        {
            send(&holder.identity, Signal::Kill);
        }
        // Found by its lock, because a test may have lost the record.
        let (dir, finished) = (self.dir.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let destroyed = runtime.map(|runtime| {
                runtime.block_on(driver::qemu::Qemu::new("", dir.path()).destroy(&dir, PATIENCE))
            });
            let _ = finished.0.send(destroyed.is_ok());
        });
        let _ = finished.1.recv();
    }
}

pub(crate) fn send(identity: &Identity, signal: Signal) {
    if let Ok(Some(process)) = Process::open(identity) {
        let _ = process.signal(signal);
    }
}

pub(crate) fn is_alive(identity: &Identity) -> bool {
    Process::open(identity).unwrap().is_some()
}
