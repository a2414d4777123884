//! Roles: this test program run as the child process of a test. Unlike a shell script, a role is the same on every system.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use process::spawn::{Notifier, Spawn};
use process::stop::{StopReason, StopRequests};
use process::{FileLock, Identity, file};

const ROLE: &str = "CONTRACT_ROLE";
const ARG: &str = "CONTRACT_ARG";
pub(crate) const READY: &str = "CONTRACT_READY";

const PLAY: [&str; 4] = ["--exact", "role::play", "--nocapture", "--test-threads=1"];

/// Returns a [`Spawn`] of this program in a role, with an argument.
pub(crate) fn run_as(role: &str, arg: impl AsRef<Path>) -> Spawn {
    Spawn::new(std::env::current_exe().unwrap())
        .args(PLAY)
        .env(ROLE, role)
        .env(ARG, arg.as_ref())
}

/// Like [`run_as`], as a helper. Its stdout begins with the test harness's own lines.
pub(crate) fn helper(role: &str, arg: impl AsRef<Path>) -> process::command::Run {
    process::command::Run::new(std::env::current_exe().unwrap(), crate::PATIENCE)
        .args(PLAY)
        .env(ROLE, role)
        .env(ARG, arg.as_ref())
}

/// Like [`run_as`], but without [`Spawn`]: the process gets no session or job of its own.
pub(crate) fn plain(role: &str, arg: impl AsRef<Path>) -> Command {
    plain_below(Command::new(std::env::current_exe().unwrap()), role, arg)
}

/// Like [`plain`], run by another program that executes its arguments.
pub(crate) fn plain_below(mut command: Command, role: &str, arg: impl AsRef<Path>) -> Command {
    command
        .args(PLAY)
        .env(ROLE, role)
        .env(ARG, arg.as_ref())
        .env_remove(READY);
    command
}

/// Returns content that is too long for a single write.
pub(crate) fn new_content() -> Vec<u8> {
    b"new ".repeat(100_000)
}

/// Not a test: the entry point of the roles.
#[test]
#[expect(
    clippy::zombie_processes,
    reason = "some children must outlive this process"
)]
fn play() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let arg = PathBuf::from(std::env::var_os(ARG).unwrap());
    match role.as_str() {
        "nothing" => {}
        // Starts a long-lived child that prints the state which it inherited.
        #[cfg(target_os = "linux")]
        "start-a-child-that-prints-its-state" => {
            process::start_state::reset();
            let out = std::fs::File::create(&arg).unwrap();
            let script =
                "grep ^Sig /proc/self/status; echo fsize $(ulimit -f) umask $(umask) cwd $(pwd)";
            let child = Spawn::new("sh").args(["-c", script]).long_lived();
            let mut child = child.stdout(out).spawn().unwrap();
            let ended = child.wait(crate::soon());
            assert!(
                matches!(ended, process::Exit::Exited(Some(status)) if status.success()),
                "{ended:?}"
            );
        }
        "sleep" => {
            report(&arg);
            sleep();
        }
        // Holds the lock until it is killed.
        "hold" => {
            let lock = FileLock::try_acquire(&arg, "the holder").unwrap();
            notifier()
                .unwrap()
                .ready(if lock.is_some() { "mine" } else { "taken" })
                .unwrap();
            sleep();
        }
        "write" => file::write_atomic(&arg, &new_content(), 0o600).unwrap(),
        "refuse" => notifier().unwrap().refused("no room\nat all").unwrap(),
        "die" => drop(notifier().unwrap()),
        "mark" => std::fs::write(&arg, format!("{:?}", process::tree::Mark::of_current())).unwrap(),
        "environment" => {
            let variables: Vec<String> = std::env::vars()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            let folder = std::env::current_dir().unwrap();
            let text = format!("{}in {}\n", variables.concat(), folder.display());
            std::fs::write(&arg, text).unwrap();
        }

        // Helpers. They exit at once, before the test harness prints more.
        "cat" => {
            let mut input = Vec::new();
            std::io::stdin().read_to_end(&mut input).unwrap();
            std::io::stdout().write_all(&input).unwrap();
            eprintln!("err");
            leave(0);
        }
        "fail" => {
            eprintln!("no such disk");
            leave(3);
        }
        "flood" => loop {
            if std::io::stdout().write_all(&[0; 4096]).is_err() {
                leave(1);
            }
        },
        "flood-errors" => {
            std::io::stderr().write_all(&[b'x'; 1_000_000]).unwrap();
            eprintln!("\nend");
            leave(0);
        }
        // Leaves a child in the background that holds its outputs open.
        "leave-background" => {
            plain("sleep", arg.join("below")).spawn().unwrap();
            crate::wait_for_file(&arg.join("below"));
            print!("done");
            leave(0);
        }
        // Never returns, and has a child that left its session.
        "hang" => {
            run_as("sleep", arg.join("below")).spawn().unwrap();
            crate::wait_for_file(&arg.join("below"));
            eprintln!("stuck");
            sleep();
        }

        // Trees. Each member writes its identity into a file of the folder `arg`.
        "family" => {
            plain("middle", &arg).spawn().unwrap();
            sleep();
        }
        "middle" => {
            plain("sleep", arg.join("stays")).spawn().unwrap();
            // Its own session on Unix, its own group and job on Windows.
            run_as("sleep", arg.join("leaves"))
                .env_remove(READY)
                .spawn()
                .unwrap();
            report(&arg.join("middle"));
            sleep();
        }
        "siblings" => {
            for name in ["member", "sibling"] {
                plain("sleep", arg.join(name)).spawn().unwrap();
            }
            sleep();
        }
        // Ends on a stop request, and leaves one child that ends on request and one that does not.
        "host" => {
            plain("listen", arg.join("polite")).spawn().unwrap();
            plain("ignore", arg.join("stubborn")).spawn().unwrap();
            crate::wait_for_file(&arg.join("polite"));
            crate::wait_for_file(&arg.join("stubborn"));
            requests(true, || report(&arg));
        }
        // Starts a tree and ends at once, so that the tree has no parent.
        "leave" => {
            let child = run_as("family", &arg).spawn().unwrap();
            crate::wait_for_file(&arg.join("leaves"));
            let tree = serde_json::to_vec(&child.tree()).unwrap();
            file::write_atomic(&arg.join("tree"), &tree, 0o600).unwrap();
        }
        // Starts two trees, and writes them into files.
        "outer" | "outer-contained" => {
            for name in ["one", "two"] {
                let child = run_as("sleep", "");
                let child = if role == "outer" {
                    child.spawn().unwrap()
                } else {
                    child.contained().spawn().unwrap()
                };
                let tree = format!("{}\n", serde_json::to_string(&child.tree()).unwrap());
                file::write_atomic(&arg.join(name), tree.as_bytes(), 0o600).unwrap();
            }
            sleep();
        }
        // Each process starts the next one and does not wait for it. `arg` is the number of further ones, so that a
        // failed test does not fill the machine.
        "breed" => {
            for _ in 0..2 {
                plain("sleep", "").spawn().unwrap();
            }
            let more: u32 = arg.to_str().unwrap().parse().unwrap();
            if more > 0 {
                plain("breed", (more - 1).to_string()).spawn().unwrap();
            }
            sleep();
        }

        #[cfg(unix)]
        "storm" => {
            crate::unix::storm(&arg, false);
            sleep();
        }
        #[cfg(unix)]
        "storm-leaving" => {
            crate::unix::storm(&arg, true);
            leave(0);
        }
        #[cfg(target_os = "linux")]
        "without-a-cgroup" => crate::contained::without_a_cgroup(&arg),
        #[cfg(target_os = "linux")]
        "kill-inside" => crate::contained::kill_inside(&arg),
        #[cfg(target_os = "linux")]
        "kill-a-crowd" => crate::unix::kill_a_crowd(&arg),

        "listen" => {
            let reason = requests(true, || report(&arg));
            if !arg.as_os_str().is_empty() {
                std::fs::write(arg.with_extension("heard"), format!("{reason}\n")).unwrap();
            }
        }
        "ignore" => drop(requests(false, || report(&arg))),
        other => panic!("no role {other}"),
    }
}

/// Listens for stop requests and calls `ready`. If it `obeys`, returns the first request; otherwise runs until it is killed.
fn requests(obeys: bool, ready: impl FnOnce()) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut requests = StopRequests::listen().unwrap();
        ready();
        loop {
            let reason: StopReason = requests.next().await;
            if obeys {
                return format!("{reason:?}");
            }
        }
    })
}

/// Reports the identity of this process: over the readiness pipe if there is one, else as a line in `file` if that has a
/// name.
fn report(file: &Path) {
    let identity = serde_json::to_string(&Identity::of_current().unwrap()).unwrap();
    match notifier() {
        Some(notifier) => notifier.ready(&identity).unwrap(),
        None if file.as_os_str().is_empty() => {}
        None => file::write_atomic(file, format!("{identity}\n").as_bytes(), 0o600).unwrap(),
    }
}

fn notifier() -> Option<Notifier> {
    let value = std::env::var(READY).ok()?;
    Some(Notifier::from_variable(&value).unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test harness must print nothing more"
)]
fn leave(status: i32) -> ! {
    std::io::stdout().flush().unwrap();
    std::process::exit(status)
}

/// Sleeps until this process is killed, at most ten minutes, because a failed test may not kill it.
fn sleep() -> ! {
    let until = Instant::now() + Duration::from_secs(600);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
    leave(4)
}
