//! A short soak (`crates/soak`): random faults with a few VMs. `make soak` runs long ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::command::Run;
use process::spawn::Spawn;
use process::{Identity, Process, Signal};
use testutils::poll;

/// The tests that run in an enclosure; the other tests start them.
const INSIDE: &str = "soak::inside_of_an_enclosure";
const ENDLESS: &str = "soak::endless";
/// One minute of faults and the recovery from the last of them.
const LIMIT: Duration = Duration::from_secs(420);
/// The start of a VM on a busy machine.
const UP: Duration = Duration::from_secs(120);

#[test]
fn h33_random_faults_lose_no_vm_and_signal_no_other_process() {
    let test = std::env::current_exe().unwrap();
    let [program, rest @ ..] = soak::enclosure() else {
        panic!("an enclosure has a program");
    };
    let output = Run::new(program, LIMIT)
        .args(rest)
        .arg(test)
        .args([INSIDE, "--exact", "--ignored", "--nocapture"])
        .limit(16 << 20)
        .run_any()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.text());
    assert!(output.text().contains("1 passed"), "{}", output.text());
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inside_of_an_enclosure() {
    match soak::run(&options(3, 60, 40, |line| println!("{line}"))) {
        Ok(figures) => assert!(figures.count() > 5, "{figures:?}"),
        Err(violation) => panic!("{violation}"),
    }
}

/// Ctrl-C signals every process in the foreground; `kill` and `kill -9` signal one.
#[test]
fn interrupted_or_killed_soak_leaves_nothing_behind() {
    if !soak::ends_all() {
        return testutils::skip(testutils::Need::Namespaces, "no PID namespace is allowed");
    }
    for (target, signal) in [
        (Target::Outermost, Signal::Terminate),
        (Target::Outermost, Signal::Kill),
        (Target::Soak, Signal::Interrupt),
        (Target::Soak, Signal::Kill),
    ] {
        // As in `cargo xtask soak`, the parent waits for the first process of the enclosure.
        let child = Spawn::new("sh")
            .args(["-c", "\"$@\"; exit $?", "sh"])
            .args(soak::enclosure())
            .arg(std::env::current_exe().unwrap())
            .args([ENDLESS, "--exact", "--ignored", "--nocapture"])
            .spawn()
            .unwrap();
        let _ended = Ended(Process::open(child.identity()).unwrap().unwrap());
        let enclosed = poll(UP, "a VM in the enclosure", || {
            let all = enclosed(child.identity());
            match all.iter().any(|one| one.1.contains("qemu-system")) {
                true => Ok(all),
                false => Err(format!("{all:?}")),
            }
        });
        let (hostagent, soak) = (find(&enclosed, " hostagent "), find(&enclosed, ENDLESS));
        let folder = hostagent
            .1
            .split(' ')
            .find(|word| word.contains("/lima/"))
            .map(PathBuf::from)
            .unwrap();
        let notes: Vec<_> = enclosed
            .iter()
            .filter_map(|one| one.1.split(' ').find(|word| word.contains("/bystander")))
            .collect();
        assert!(!notes.is_empty(), "{enclosed:?}");
        // It exists in the file system of the namespace.
        let seen = format!("/proc/{}/root{}", hostagent.0, folder.display());
        assert!(fs::exists(&seen).unwrap(), "{seen}");

        let victim = match target {
            Target::Outermost => child.identity().clone(),
            Target::Soak => Identity::of(soak.0).unwrap().unwrap(),
        };
        let victim = Process::open(&victim).unwrap().unwrap();
        victim.signal(signal).unwrap();
        poll(UP, "the end of all in the enclosure", || {
            let alive: Vec<_> = enclosed
                .iter()
                .filter(|one| command_of(one.0) == one.1)
                .collect();
            match alive.is_empty() {
                true => Ok(()),
                false => Err(format!("{target:?}, {signal:?}: {alive:?}")),
            }
        });
        assert!(!folder.exists(), "{}", folder.display());
        for note in notes {
            assert!(!Path::new(note).exists(), "{note}");
        }
    }
}

/// Kills the process when the test fails.
struct Ended(Process);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::Kill);
    }
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Outermost,
    Soak,
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn endless() {
    let _ = soak::run(&options(1, 600, u32::MAX, |_| {}));
}

fn options(vms: usize, seconds: u64, faults: u32, tell: fn(&str)) -> soak::Options {
    soak::Options {
        binary: env!("CARGO_BIN_EXE_rdd").into(),
        vms,
        seed: 1,
        duration: Duration::from_secs(seconds),
        faults,
        small_disk: true,
        kept: testutils::cache_dir().join("soak"),
        tell,
    }
}

/// Number and command line of each process in the namespace that a descendant of `outermost` made.
fn enclosed(outermost: &Identity) -> Vec<(u32, String)> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = namespace(std::process::id());
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![outermost.pid()];
    let mut first = None;
    // Down to the first process in another namespace.
    while let Some(pid) = family.pop() {
        if namespace(pid).is_some_and(|one| Some(&one) != ours.as_ref()) {
            first = namespace(pid);
            break;
        }
        family.extend(all.iter().filter(|one| one.1 == pid).map(|one| one.0));
    }
    all.iter()
        .filter(|one| first.is_some() && namespace(one.0) == first)
        .map(|one| (one.0, command_of(one.0)))
        // A process that is exiting has no namespace link any more.
        .filter(|one| !one.1.is_empty())
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    line["PPid:".len()..].trim().parse().ok()
}

/// Empty when the process has exited.
fn command_of(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

fn find<'a>(all: &'a [(u32, String)], word: &str) -> &'a (u32, String) {
    let of_sh = |command: &str| command.starts_with("sh ");
    all.iter()
        .find(|one| one.1.contains(word) && !of_sh(&one.1))
        .unwrap_or_else(|| panic!("no {word:?} in {all:?}"))
}
