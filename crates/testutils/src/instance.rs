//! The real binary in an environment of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use process::command::{Output, Run};
use process::tree::{self, Mark, Tree};
use process::{Process, tree::kill_tree};
use tempfile::TempDir;

use crate::stub_guest::{self, PowerButton};
use crate::sys;

/// The timeout of a command that boots no VM and builds no image. Each takes far less, even on a busy machine.
const COMMAND: Duration = Duration::from_secs(180);

/// The timeout of `svc delete` at the end, with VMs that ignore their shutdown.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// How long processes may take to exit after the request to do so.
const LAST_BREATH: Duration = Duration::from_secs(15);

/// The variables that a program needs to run at all. All others are left out, so that a test does not depend on the
/// machine.
const INHERITED: &[&str] = &[
    "PATH",
    "LLVM_PROFILE_FILE",
    "RUST_BACKTRACE",
    "USER",
    "LOGNAME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    // Windows: without it a program finds none of the system's libraries for sockets and keys.
    "SystemRoot",
];

/// An instance of rdd for one test: its own home folder, instance name and environment. Dropping it stops and deletes
/// the instance, panics when a process of it is left (unless the test has failed already), and kills that too.
///
/// Processes are found by a mark in the environment that all of them inherit ([`process::tree`]).
pub struct Instance {
    binary: PathBuf,
    root: TempDir,
    home: PathBuf,
    name: String,
    mark: Mark,
    env: BTreeMap<OsString, OsString>,
    ended: bool,
}

/// A process that a test left.
pub struct Leftover {
    /// A handle of the process.
    pub process: Process,
    /// Its command line, for people.
    pub command: String,
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.process.identity().pid(), self.command)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// An instance of the program `binary`, in tests usually `env!("CARGO_BIN_EXE_rdd")`. Nothing is started yet.
    #[must_use]
    pub fn new(binary: impl AsRef<Path>) -> Self {
        Self::with_home(binary, "h")
    }

    /// An instance whose home folder has spaces, brackets, a quote and letters beyond ASCII in its name (hazard 14), and a
    /// star where the system allows it.
    #[must_use]
    pub fn with_awkward_home(binary: impl AsRef<Path>) -> Self {
        Self::with_home(
            binary,
            if cfg!(windows) {
                "a[1] b'é"
            } else {
                "a[1] *b'é"
            },
        )
    }

    /// An instance whose home folder has this name.
    #[must_use]
    pub fn with_home(binary: impl AsRef<Path>, home: &str) -> Self {
        // Not $TMPDIR, which may be long: the paths of sockets must stay under 104 bytes.
        let parent = if cfg!(unix) {
            PathBuf::from("/tmp")
        } else {
            std::env::temp_dir()
        };
        Self::within(binary, parent, home)
    }

    /// An instance whose folders are all below `parent`, which must have a short path.
    #[must_use]
    pub fn within(binary: impl AsRef<Path>, parent: impl AsRef<Path>, home: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::Builder::new()
            .prefix("r")
            .rand_bytes(5)
            .tempdir_in(parent)
            .expect("a temporary folder");
        let home = root.path().join(home);
        let temporary = root.path().join("tmp");
        fs::create_dir(&home).expect("a home folder");
        fs::create_dir(&temporary).expect("a folder for temporary files");
        // Unique on this machine while this process lives, and short.
        let name = format!(
            "t{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mark = Mark::new();
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        for variable in INHERITED {
            if let Some(value) = std::env::var_os(variable) {
                env.insert(variable.into(), value);
            }
        }
        let cache = crate::machine::cache_dir();
        fs::create_dir_all(&cache).expect("the folder of the test cache");
        for (variable, value) in [
            ("HOME", home.as_os_str()),
            ("USERPROFILE", home.as_os_str()),
            ("TMPDIR", temporary.as_os_str()),
            ("TEMP", temporary.as_os_str()),
            ("TMP", temporary.as_os_str()),
            ("XDG_CACHE_HOME", cache.as_os_str()),
            ("RDD_INSTANCE", OsStr::new(&name)),
            ("LANG", OsStr::new("C.UTF-8")),
            (tree::VARIABLE, OsStr::new(mark.as_str())),
        ] {
            env.insert(variable.into(), value.into());
        }
        Instance {
            binary: binary.as_ref().to_owned(),
            root,
            home,
            name,
            mark,
            env,
            ended: false,
        }
    }

    /// Lets this instance log in to stub guests ([`crate::stub_guest`]) and returns a template for them.
    #[must_use]
    pub fn stub_template(&mut self, button: PowerButton) -> PathBuf {
        let folder = self.scratch();
        self.env("PATH", stub_guest::path_with_ssh(&folder));
        stub_guest::template(&folder, button)
    }

    /// Sets a variable for every command from here on, and for what they start.
    pub fn env(&mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env
            .insert(variable.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// The instance's name, the value of `RDD_INSTANCE`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A folder for the test's own files, which is removed with the instance.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// `rdd svc paths dir` (INTERFACE).
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        sys::data_dir(&self.home, &format!("rancher-desktop-{}", self.name))
    }

    /// `rdd svc paths log_dir`.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        sys::log_dir(&self.home, &format!("rancher-desktop-{}", self.name))
    }

    /// `rdd svc paths short_dir`.
    #[must_use]
    pub fn short_dir(&self) -> PathBuf {
        self.home.join(format!(".rd{}", self.name))
    }

    /// `rdd svc paths lima_home`.
    #[must_use]
    pub fn lima_home(&self) -> PathBuf {
        self.short_dir().join("lima")
    }

    /// The kubeconfig (`rdd svc paths config`).
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("config.yaml")
    }

    /// A run of any program in this instance's environment, such as `kubectl`.
    #[must_use]
    pub fn run(&self, program: impl AsRef<OsStr>, timeout: Duration) -> Run {
        let mut run = Run::new(program, timeout)
            .env_only([""; 0])
            .cwd(self.root.path());
        for (variable, value) in &self.env {
            run = run.env(variable, value);
        }
        run
    }

    /// A run of rdd with these arguments, to be changed before it is run.
    #[must_use]
    pub fn command(&self, args: &[&str], timeout: Duration) -> Run {
        self.run(&self.binary, timeout).args(args)
    }

    /// Runs `rdd ARGS` and returns its output and exit status, whether it succeeded or not.
    #[track_caller]
    pub fn rdd(&self, args: &[&str]) -> Output {
        self.rdd_within(args, COMMAND)
    }

    /// [`Instance::rdd`] with another limit, for commands that boot VMs or build images.
    #[track_caller]
    pub fn rdd_within(&self, args: &[&str], timeout: Duration) -> Output {
        match self.command(args, timeout).run_any() {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs `rdd ARGS`, which must succeed, and returns its standard output without the white space around it.
    #[track_caller]
    pub fn rdd_ok(&self, args: &[&str]) -> String {
        self.rdd_ok_within(args, COMMAND)
    }

    /// [`Instance::rdd_ok`] with another limit.
    #[track_caller]
    pub fn rdd_ok_within(&self, args: &[&str], timeout: Duration) -> String {
        let output = self.rdd_within(args, timeout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "rdd {} ({}):\n{}\n{stderr}",
            args.join(" "),
            output.status,
            output.text()
        );
        output.text()
    }

    /// Runs `rdd ARGS`, which must end with exit code `code`, and returns its standard error.
    #[track_caller]
    pub fn rdd_fails(&self, args: &[&str], code: i32) -> String {
        let output = self.rdd(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let args = args.join(" ");
        assert_eq!(
            output.status.code(),
            Some(code),
            "rdd {args} ({}):\n{}\n{stderr}",
            output.status,
            output.text()
        );
        stderr
    }

    /// The processes of this instance that run now, the daemon and the VMs included.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Leftover> {
        leftovers_of(&self.mark)
    }

    /// Waits until no process of this instance is left; panics with those that stay.
    #[track_caller]
    pub fn assert_no_leftovers(&self) {
        poll_leftovers(&self.mark);
    }

    /// Prints the logs of the daemon and of each VM to standard error.
    pub fn print_logs(&self) {
        let mut files = list(&self.log_dir());
        for vm in list(&self.lima_home()) {
            files.extend(list(&vm));
        }
        for file in files {
            if file.extension().is_some_and(|extension| extension == "log")
                && let Ok(text) = fs::read(&file)
                && !text.is_empty()
            {
                /// Only the end of a log is shown, because it contains the reason.
                const SHOWN: usize = 8 * 1024;
                let end = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]);
                eprintln!("--- {}\n{end}", file.display());
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.end_within(LAST_BREATH)
    }

    fn end_within(&mut self, last_breath: Duration) -> Result<(), String> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let mut problems = Vec::new();
        if self.dir().exists() || !self.leftovers().is_empty() {
            match self
                .command(&["svc", "delete", "--timeout=90s"], CLEAN_UP)
                .run()
            {
                Ok(_) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        let deadline = Instant::now() + last_breath;
        let alive: Vec<Leftover> = self
            .leftovers()
            .into_iter()
            .filter(|one| !one.process.wait(deadline).is_exited())
            .collect();
        if !alive.is_empty() {
            problems.push(format!("processes were left behind: {alive:?}"));
        }
        if let Err(error) = kill_tree(&Tree::marked(self.mark.clone()), Duration::ZERO) {
            problems.push(error.to_string());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("; "))
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let failed_already = std::thread::panicking();
        if failed_already {
            self.print_logs();
        }
        if let Err(problem) = self.end() {
            let name = &self.name;
            if failed_already {
                eprintln!("instance {name}: {problem}");
            } else {
                self.print_logs();
                panic!("instance {name}: {problem}");
            }
        }
    }
}

/// The processes with this mark in their environment.
#[must_use]
pub fn leftovers_of(mark: &Mark) -> Vec<Leftover> {
    let members = Tree::marked(mark.clone())
        .members()
        .expect("the process table");
    members
        .into_iter()
        .map(|process| Leftover {
            command: sys::command_line(process.identity().pid()),
            process,
        })
        .collect()
}

#[track_caller]
fn poll_leftovers(mark: &Mark) {
    crate::poll(LAST_BREATH, "all processes of the instance to end", || {
        let alive = leftovers_of(mark);
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("{alive:?}"))
        }
    });
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A fake rdd: `leave` leaves a process in a session of its own, and `svc delete` kills it unless `FAKE_KEEP` is set.
    const FAKE: &str = r#"#!/bin/sh
case "$1" in
    leave) env -i RDD_PROCESS_TREE="$RDD_PROCESS_TREE" setsid sleep 1000 >/dev/null 2>&1 & echo $! > "$HOME/pid" ;;
    env) env ;;
    svc) test -z "$FAKE_KEEP" && kill "$(cat "$HOME/pid")"; true ;;
esac
"#;

    fn fake() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rdd");
        // `install` writes it, because a test that forks meanwhile would inherit the open file, and then the file cannot be
        // executed (ETXTBSY).
        let install = Run::new("install", COMMAND)
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .input(FAKE);
        install.run().expect("an installed script");
        (folder, path)
    }

    #[test]
    fn process_of_an_instance_is_found_and_killed_by_svc_delete() {
        let (_folder, binary) = fake();
        let instance = Instance::with_awkward_home(binary);
        instance.rdd_ok(&["leave"]);
        let left = crate::poll(Duration::from_secs(10), "the sleep", || {
            let left = instance.leftovers();
            if left.len() == 1 && left[0].command.starts_with("sleep") {
                Ok(left)
            } else {
                Err(format!("{left:?}"))
            }
        });
        let mut instance = instance;
        assert_eq!(instance.end(), Ok(()));
        assert!(!left[0].process.is_running());
    }

    #[test]
    fn process_that_outlives_svc_delete_is_killed_and_reported() {
        let (_folder, binary) = fake();
        let mut instance = Instance::new(binary);
        instance.env("FAKE_KEEP", "1").rdd_ok(&["leave"]);
        let left = crate::poll(Duration::from_secs(10), "the sleep", || {
            instance.leftovers().pop().ok_or("no process")
        });
        let problem = instance.end_within(Duration::from_millis(50)).unwrap_err();
        assert!(problem.contains("left behind"), "{problem}");
        assert!(!left.process.is_running());
    }

    #[test]
    fn environment_of_the_machine_is_not_inherited() {
        let (_folder, binary) = fake();
        let instance = Instance::new(binary);
        let env = instance.rdd_ok(&["env"]);
        assert!(!env.contains("CARGO"), "{env}");
        assert!(
            env.contains(&format!("RDD_INSTANCE={}", instance.name())),
            "{env}"
        );
        assert!(
            instance.lima_home().as_os_str().len() < 40,
            "{:?}",
            instance.lima_home()
        );
    }
}
