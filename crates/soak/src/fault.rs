//! The faults, and the commands of a user in between.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Process, Signal};
use testutils::{Bystander, Instance};

use crate::dice::Dice;
use crate::processes::{Processes, Role};
use crate::vms::{Known, Vm};
use crate::wall_clock::{JUMPS, WallClock};

/// A fault or a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillDaemon,
    KillHostagent,
    KillQemu,
    FreezeDaemon,
    FreezeHostagent,
    FreezeQemu,
    FillDisk,
    TakeSshPort,
    TakeApiPort,
    DeleteSocket,
    ForgePid,
    JumpClock,
    Start,
    Stop,
    Restart,
    ChangeTemplate,
    DeleteAndCreate,
    RestartService,
}

/// The weight of each.
pub(crate) const FAULTS: &[(Fault, usize)] = &[
    (Fault::KillDaemon, 10),
    (Fault::KillHostagent, 14),
    (Fault::KillQemu, 10),
    (Fault::FreezeDaemon, 3),
    (Fault::FreezeHostagent, 5),
    (Fault::FreezeQemu, 6),
    (Fault::FillDisk, 4),
    (Fault::TakeSshPort, 4),
    (Fault::TakeApiPort, 2),
    (Fault::DeleteSocket, 6),
    (Fault::ForgePid, 8),
    (Fault::JumpClock, 8),
    (Fault::Start, 8),
    (Fault::Stop, 6),
    (Fault::Restart, 6),
    (Fault::ChangeTemplate, 4),
    (Fault::DeleteAndCreate, 4),
    (Fault::RestartService, 2),
];

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::KillDaemon => "kill -9 of the daemon",
            Fault::KillHostagent => "kill -9 of a hostagent",
            Fault::KillQemu => "kill -9 of a QEMU",
            Fault::FreezeDaemon => "SIGSTOP of the daemon",
            Fault::FreezeHostagent => "SIGSTOP of a hostagent",
            Fault::FreezeQemu => "SIGSTOP of a QEMU",
            Fault::FillDisk => "disk filled up",
            Fault::TakeSshPort => "ssh port taken",
            Fault::TakeApiPort => "API port taken",
            Fault::DeleteSocket => "socket deleted",
            Fault::ForgePid => "PID file forged",
            Fault::JumpClock => "wall clock jumped",
            Fault::Start => "user: start",
            Fault::Stop => "user: stop",
            Fault::Restart => "user: restart",
            Fault::ChangeTemplate => "user: template changed",
            Fault::DeleteAndCreate => "user: delete and create",
            Fault::RestartService => "user: svc stop and start",
        }
    }
}

/// The timeout of a command to a daemon that may be frozen.
const COMMAND: Duration = Duration::from_secs(10);
/// The timeout of a command that waits for VMs that may be frozen: their grace period is 30 s, and the daemon may have to
/// start first.
const LONG_COMMAND: Duration = Duration::from_secs(60);
/// How long a daemon may take to stop: the grace period of its VMs and ten seconds more. A daemon that did not receive the
/// request keeps running, which is right as well.
const LEAVING: Duration = Duration::from_secs(45);
/// The size of one write while the disk is filled, in bytes.
const BLOCK: usize = 1 << 16;

/// The lasting faults, which [`Broken::repair`] ends.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    frozen: Vec<(String, Process)>,
    ports: Vec<TcpListener>,
    full: bool,
    /// A daemon that was frozen when it was asked to stop, or that took too long: it ends later.
    leaving: Option<Process>,
}

impl Broken {
    /// Ends all lasting faults.
    pub(crate) fn repair(&mut self, instance: &Instance) -> Vec<String> {
        let mut done = Vec::new();
        for (name, process) in self.frozen.drain(..) {
            if process.signal(Signal::Continue).is_ok() {
                done.push(format!("{name} continues"));
            }
        }
        if !self.ports.is_empty() {
            self.ports.clear();
            done.push("the ports are free".into());
        }
        if std::mem::take(&mut self.full) {
            // Files can be removed on a full disk.
            let _ = fs::remove_file(filler(instance));
            done.push("there is room on the disk".into());
        }
        if let Some(daemon) = self.leaving.take()
            && daemon.wait(Instant::now() + LEAVING).is_exited()
        {
            done.push("the daemon that was asked to stop is gone".into());
        }
        done
    }
}

fn filler(instance: &Instance) -> std::path::PathBuf {
    instance.home().join("filler")
}

/// The target of the faults.
pub(crate) struct Scene<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) template: &'a Path,
    pub(crate) vms: &'a mut [Vm],
    pub(crate) strangers: &'a [Bystander],
    pub(crate) broken: &'a mut Broken,
    pub(crate) dice: &'a mut Dice,
    pub(crate) small_disk: bool,
    /// `None` where the clock cannot be moved.
    pub(crate) clock: Option<&'a WallClock>,
}

impl Scene<'_> {
    /// Causes the fault and returns a description; `None` if its target does not exist.
    pub(crate) fn happen(&mut self, fault: Fault) -> Option<String> {
        // Always rolled, so that later faults do not depend on whether the target exists.
        let index = self.dice.below(self.vms.len());
        let detail = self.dice.below(1 << 16);
        let name = self.vms[index].name.clone();
        let command = |args: &[&str]| self.instance.command(args, COMMAND).run_any();
        let went_well = |args: &[&str]| command(args).is_ok_and(|output| output.status.success());
        match fault {
            Fault::KillDaemon => self.signal(&Role::Daemon, Signal::Kill),
            Fault::KillHostagent => self.signal(&Role::Hostagent(name), Signal::Kill),
            Fault::KillQemu => self.signal(&Role::Qemu(name), Signal::Kill),
            Fault::FreezeDaemon => self.signal(&Role::Daemon, Signal::Stop),
            Fault::FreezeHostagent => self.signal(&Role::Hostagent(name), Signal::Stop),
            Fault::FreezeQemu => self.signal(&Role::Qemu(name), Signal::Stop),
            Fault::FillDisk => self.fill_disk(),
            Fault::TakeSshPort => {
                let record = self.folder(index).join("qemu.json");
                let port = read_number(&record, "ssh_local_port")?;
                let killed = self.signal(&Role::Qemu(name), Signal::Kill)?;
                self.take_port(port, &killed)
            }
            Fault::TakeApiPort => {
                let config = fs::read_to_string(self.instance.kubeconfig()).ok()?;
                let port = config.split("https://127.0.0.1:").nth(1)?;
                let port = port.split(|c: char| !c.is_ascii_digit()).next()?;
                let port = port.parse().ok()?;
                let killed = self.signal(&Role::Daemon, Signal::Kill)?;
                self.take_port(port, &killed)
            }
            Fault::DeleteSocket => {
                let socket = ["ha.sock", "qmp.sock", "ga.sock"][detail % 3];
                fs::remove_file(self.folder(index).join(socket)).ok()?;
                Some(format!("{socket} of {name} deleted"))
            }
            Fault::ForgePid => self.forge(index, detail),
            // The clock stays so until the next jump: the system must recover with any clock.
            Fault::JumpClock => self.clock?.jump(JUMPS[detail % JUMPS.len()]),
            Fault::Start | Fault::Stop => {
                let running = fault == Fault::Start;
                let verb = if running { "start" } else { "stop" };
                let done = went_well(&["limavm", verb, &name, "--wait=false"]);
                self.declared(index, running, done);
                Some(said(&format!("user: {verb} {name}"), done))
            }
            Fault::Restart => {
                let done = went_well(&["limavm", "restart", &name, "--wait=false"]);
                self.declared(index, true, done);
                Some(said(&format!("user: restart {name}"), done))
            }
            Fault::ChangeTemplate => {
                let memory = format!("memory: {}MiB", 64 + detail % 16);
                let text = fs::read_to_string(self.template).ok()?;
                let changed = text.replace("memory: 64MiB", &memory);
                let patch = serde_json::json!({ "data": { "template": changed } }).to_string();
                let done = self
                    .instance
                    .run("kubectl", COMMAND)
                    .arg("--kubeconfig")
                    .arg(self.instance.kubeconfig())
                    .args(["--request-timeout=8s", "patch", "configmap"])
                    .args([&format!("{name}-template"), "--type=merge", "-p", &patch])
                    .run()
                    .is_ok();
                Some(said(&format!("user: {name} gets {memory}"), done))
            }
            Fault::DeleteAndCreate => Some(self.delete_and_create(index)),
            Fault::RestartService => {
                let run = |args: &[&str]| {
                    let output = self.instance.command(args, LONG_COMMAND).run_any();
                    output.is_ok_and(|output| output.status.success())
                };
                let daemon = Processes::of(self.instance)
                    .get(&Role::Daemon)
                    .and_then(|one| Process::open(one.process.identity()).ok()?);
                let stopped = run(&["svc", "stop", "--wait", "--timeout=50s"]);
                let started = stopped && run(&["svc", "start", "--timeout=50s"]);
                if !stopped {
                    self.broken.leaving = daemon;
                }
                Some(said("user: svc stop, svc start", stopped && started))
            }
        }
    }

    fn folder(&self, index: usize) -> std::path::PathBuf {
        self.instance.lima_home().join(&self.vms[index].name)
    }

    fn declared(&mut self, index: usize, running: bool, done: bool) {
        let vm = &mut self.vms[index];
        vm.running = if done {
            Known::Sure(running)
        } else {
            Known::Unsure
        };
    }

    fn signal(&mut self, role: &Role, signal: Signal) -> Option<String> {
        let processes = Processes::of(self.instance);
        let process = &processes.get(role)?.process;
        let pid = process.identity().pid();
        process.signal(signal).ok()?;
        if signal == Signal::Stop {
            let again = Process::open(process.identity()).ok()??;
            self.broken.frozen.push((role.to_string(), again));
        }
        Some(format!("{signal:?} {role} ({pid})"))
    }

    fn take_port(&mut self, port: u16, killed: &str) -> Option<String> {
        // The last owner of the port may still be exiting.
        for _ in 0..20 {
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                self.broken.ports.push(listener);
                return Some(format!("{killed}, and its port {port} taken"));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Some(format!(
            "{killed}; its port {port} was taken again too soon"
        ))
    }

    fn fill_disk(&mut self) -> Option<String> {
        if !self.small_disk || self.broken.full {
            return None;
        }
        self.broken.full = true;
        let mut file = File::create(filler(self.instance)).ok()?;
        let block = [0u8; BLOCK];
        let mut size = BLOCK;
        // Until no byte is left.
        while size > 0 {
            if file.write_all(&block[..size]).is_err() {
                size /= 2;
            }
        }
        Some("the disk is full".into())
    }

    fn forge(&mut self, index: usize, detail: usize) -> Option<String> {
        let stranger = self.strangers[detail % self.strangers.len()]
            .pid()
            .to_string();
        let number = match detail / 16 % 4 {
            0 => "0",
            1 => "1",
            2 => "-1",
            _ => stranger.as_str(),
        };
        let of_vm = self.folder(index).join("ha.pid");
        let of_daemon = self.instance.dir().join("rdd.pid");
        let path = if detail.is_multiple_of(3) {
            of_daemon
        } else {
            of_vm
        };
        // A VM that was never started has no such file; it gets a forged one.
        fs::write(&path, format!("{number}\n")).ok()?;
        Some(format!("{} says {number}", path.display()))
    }

    fn delete_and_create(&mut self, index: usize) -> String {
        let name = self.vms[index].name.clone();
        let template = self.template.to_string_lossy().into_owned();
        let run = |args: &[&str]| {
            let output = self.instance.command(args, LONG_COMMAND).run_any();
            output.is_ok_and(|output| output.status.success())
        };
        let deleted = run(&["limavm", "delete", &name, "--wait", "--timeout=50s"]);
        let vm = &mut self.vms[index];
        (vm.disk, vm.running) = (None, Known::Unsure);
        vm.exists = if deleted {
            Known::Sure(false)
        } else {
            Known::Unsure
        };
        if !deleted {
            return said(&format!("user: delete {name}"), false);
        }
        let created = run(&[
            "limavm",
            "create",
            &name,
            &template,
            "--start",
            "--wait=false",
        ]);
        let vm = &mut self.vms[index];
        if created {
            (vm.exists, vm.running) = (Known::Sure(true), Known::Sure(true));
        } else {
            vm.exists = Known::Unsure;
        }
        said(&format!("user: delete and create {name}"), created)
    }
}

fn said(what: &str, done: bool) -> String {
    if done {
        what.to_owned()
    } else {
        format!("{what} (failed)")
    }
}

/// Reads a number from a JSON file by its key.
fn read_number(path: &Path, field: &str) -> Option<u16> {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    u16::try_from(json[field].as_u64()?).ok()
}
