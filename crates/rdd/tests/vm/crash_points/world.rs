//! An instance whose daemon, hostagents and commands die at armed crash points.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::command::Output;
use process::{Signal, crash};
use testutils::stub_guest::PowerButton;
use testutils::{Instance, Leftover, poll};

use crate::guest::kubectl;

/// The timeout for operations that take seconds on an idle machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The name of the only VM.
pub(super) const VM: &str = "vm";

/// STATUS/REASON of the condition `Running`.
const CONDITION: &str = "jsonpath={.status.conditions[?(@.type==\"Running\")].status}/{.status.conditions[?(@.type==\"Running\")].reason}";

/// The declared state of the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Running,
    Stopped,
    Deleted,
}

pub(super) struct World {
    pub(super) instance: Instance,
    pub(super) template: PathBuf,
}

impl World {
    pub(super) fn new() -> World {
        Self::with(PowerButton::Obeyed)
    }

    pub(super) fn with(button: PowerButton) -> World {
        let mut instance = Instance::new(env!("CARGO_BIN_EXE_rdd"));
        let template = instance.stub_template(button);
        World { instance, template }
    }

    /// Delays QEMU's start until the file exists.
    pub(super) fn slow_qemu(&self, may_start: &Path) {
        // No `sleep` process: until its exec it would look like a second QEMU.
        let script = format!(
            "#!/bin/sh\nwhile [ ! -e '{}' ]; do :; done\nexec /usr/bin/qemu-system-x86_64 \"$@\"\n",
            may_start.display()
        );
        // By `install`, for the reason in `testutils::stub_guest`.
        let bin = self.instance.scratch().join("bin");
        self.instance
            .run("install", PATIENCE)
            .args(["-m", "755", "/dev/stdin"])
            .arg(bin.join("qemu-system-x86_64"))
            .input(script)
            .run()
            .unwrap();
    }

    /// Runs a command with `point` armed, also in the daemon that it starts and in the daemon's hostagents.
    pub(super) fn armed(&self, point: &str, args: &[&str]) -> Output {
        self.instance
            .command(args, PATIENCE)
            .env(crash::VARIABLE, point)
            .run_any()
            .unwrap()
    }

    pub(super) fn rdd(&self, args: &[&str]) -> String {
        self.instance.rdd_ok_within(args, PATIENCE)
    }

    pub(super) fn create(&self, start: bool) {
        let template = self.template.to_string_lossy().into_owned();
        let mut args = vec!["limavm", "create", VM, &template, "--wait"];
        if start {
            args.push("--start");
        }
        self.rdd(&args);
    }

    /// Kills the daemon if there is one, and starts one with `point` armed.
    pub(super) fn arm(&self, point: &str) {
        self.kill(&["svc", "serve"]);
        let started = self.armed(point, &["svc", "start"]);
        assert!(
            started.status.success(),
            "the daemon died at {point} too early"
        );
    }

    /// Kills the daemon if there is one, and starts one without an armed point.
    pub(super) fn recover(&self) {
        self.kill(&["svc", "serve"]);
        self.rdd(&["svc", "start"]);
    }

    /// Kills the processes whose command lines contain these words.
    pub(super) fn kill(&self, words: &[&str]) {
        for one in self.processes(words) {
            one.process.signal(Signal::Kill).unwrap();
            assert!(one.process.wait(Instant::now() + PATIENCE).is_exited());
        }
    }

    pub(super) fn processes(&self, words: &[&str]) -> Vec<Leftover> {
        self.instance
            .leftovers()
            .into_iter()
            .filter(|one| words.iter().all(|word| one.command.contains(word)))
            .collect()
    }

    /// Waits until a log contains that a process dies at the point.
    pub(super) fn wait_for_death(&self, point: &str) {
        let said = format!("{}{point}\n", crash::LAST_WORD);
        poll(PATIENCE, &format!("a death at {point}"), || {
            let mut logs = files(&self.instance.log_dir());
            logs.extend(files(&self.instance.lima_home().join(VM)));
            let found = logs
                .iter()
                .filter(|path| path.to_string_lossy().contains(".log"))
                .any(|path| {
                    let text = fs::read(path).unwrap_or_default();
                    String::from_utf8_lossy(&text).contains(&said)
                });
            if found { Ok(()) } else { Err("all alive") }
        });
    }

    /// Waits for the starting VM: returns true when the daemon or the VM's hostagent dies, false when the VM runs.
    pub(super) fn dies_before_it_runs(&self) -> bool {
        poll(PATIENCE, "a death or a VM that runs", || {
            if self.processes(&["svc", "serve"]).is_empty() {
                return Ok(true);
            }
            let asked = self
                .instance
                .run("kubectl", PATIENCE)
                .arg("--kubeconfig")
                .arg(self.instance.kubeconfig())
                .args(["get", "limavm", VM, "-o", CONDITION])
                .run_any()
                .unwrap();
            match asked.text().as_str() {
                "True/Started" => Ok(false),
                "False/StartFailed" => Ok(true),
                other => Err(other.to_owned()),
            }
        })
    }

    /// Waits until the VM is in its declared state: the object says so, exactly its processes run, and there is no
    /// temporary file.
    #[track_caller]
    pub(super) fn settles(&self, point: &str, declared: Declared) {
        let (condition, count) = match declared {
            Declared::Running => ("True/Started", 1),
            Declared::Stopped => ("False/Stopped", 0),
            Declared::Deleted => ("", 0),
        };
        poll(
            PATIENCE,
            &format!("the VM to be {declared:?} after a death at {point}"),
            || {
                let seen = self.condition("Running");
                let agents = self.processes(&["hostagent"]);
                let qemus = self.processes(&["qemu-system", VM]);
                assert!(qemus.len() <= 1, "two machines after {point}: {qemus:?}");
                let folder = self.instance.lima_home().join(VM).exists();
                let right = seen == condition
                    && agents.len() == count
                    && qemus.len() == count
                    && folder == (declared != Declared::Deleted);
                let left = self.temporaries();
                if right && left.is_empty() {
                    Ok(())
                } else {
                    Err(format!(
                        "{seen:?}, folder: {folder}, {agents:?}, {qemus:?}, temporary: {left:?}"
                    ))
                }
            },
        );
    }

    /// STATUS/REASON of a condition of the VM; empty if there is no VM.
    pub(super) fn condition(&self, name: &str) -> String {
        let path = |field: &str| format!("{{.status.conditions[?(@.type==\"{name}\")].{field}}}");
        let seen = self.field(&format!("{}/{}", path("status"), path("reason")));
        if seen == "/" { String::new() } else { seen }
    }

    /// A field of the VM; empty when there is no VM.
    pub(super) fn field(&self, path: &str) -> String {
        let output = format!("jsonpath={path}");
        self.kubectl(&[
            "get",
            "limavm",
            VM,
            "--ignore-not-found",
            "-o",
            output.as_str(),
        ])
    }

    pub(super) fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&self.instance, args)
    }

    /// The temporary files and folders anywhere in the home folder.
    pub(super) fn temporaries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.instance.home().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in files(&folder) {
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    found.push(path);
                } else if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        found
    }
}

/// The entries of the folder; none if it does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
