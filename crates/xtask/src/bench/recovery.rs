//! The time to recover: after a kill of the daemon with running VMs, after a kill of a hostagent, and from VMs that ignore
//! their shutdown.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use process::Signal;
use testutils::stub_guest::PowerButton;
use testutils::{Instance, Leftover, poll};

use super::figure::{print, print_times};
use crate::workspace;

/// The number of real guests that run while daemon and hostagents are killed.
const ADOPTED: usize = 5;
/// The number of guests that ignore their shutdown.
const STUBBORN: usize = 10;
/// Their grace period.
const GRACE: Duration = Duration::from_secs(5);
/// The timeout of the image's build, which takes a minute or two.
const BUILD: Duration = Duration::from_secs(900);
/// The timeout of the boots: all guests boot at the same time and share the cores.
const BOOT: Duration = Duration::from_secs(300);

pub(crate) fn measure(binary: &Path) -> anyhow::Result<()> {
    adoption(binary)?;
    stubborn(binary)
}

fn adoption(binary: &Path) -> anyhow::Result<()> {
    let instance = Instance::new(binary);
    instance.rdd_ok_within(&["image", "build", "debian-12"], BUILD);
    instance.rdd_ok(&["svc", "start"]);
    // Small, so that a small machine can run all of them.
    let template = workspace::root().join("templates/debian-12.yaml");
    let text = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let small = instance.scratch().join("small.yaml");
    fs::write(&small, text.replace("\"1GiB\"", "\"512MiB\"")).context("cannot write a template")?;
    let names: Vec<String> = (0..ADOPTED).map(|index| format!("vm{index}")).collect();
    let boot_ids = start(&instance, &names, &small, |name| {
        let command = [
            "limavm",
            "shell",
            name,
            "cat",
            "/proc/sys/kernel/random/boot_id",
        ];
        instance.rdd_ok_within(&command, BOOT)
    });

    kill(&instance, &[" svc serve"])?;
    wait_until(
        &instance,
        &names,
        "no daemon connects to the hostagents",
        |count| count == 0,
    );
    let began = Instant::now();
    instance.rdd_ok(&["svc", "start"]);
    wait_until(
        &instance,
        &names,
        "the new daemon to talk to all hostagents",
        |count| count == names.len(),
    );
    let took = began.elapsed();
    print("adopt_5_vms_after_daemon_kill", milliseconds(took), "ms");
    let reboots = || {
        let changed = names.iter().zip(&boot_ids).filter(|(name, before)| {
            let command = [
                "limavm",
                "shell",
                name,
                "cat",
                "/proc/sys/kernel/random/boot_id",
            ];
            instance.rdd_ok_within(&command, BOOT) != **before
        });
        changed.count()
    };
    println!("reboots_after_daemon_kill {} reboots", reboots());

    let mut times = Vec::new();
    for name in &names {
        let alone = std::slice::from_ref(name);
        kill(&instance, &["hostagent", &format!("/{name}")])?;
        let began = Instant::now();
        wait_until(
            &instance,
            alone,
            "no daemon connects to the hostagent",
            |count| count == 0,
        );
        wait_until(
            &instance,
            alone,
            "the daemon to talk to the next hostagent",
            |count| count == 1,
        );
        times.push(began.elapsed());
        running(&instance, name);
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    print_times("adopt_after_hostagent_kill", times);
    print("adopt_after_hostagent_kill_max", milliseconds(worst), "ms");
    println!("reboots_after_hostagent_kill {} reboots", reboots());
    Ok(())
}

fn stubborn(binary: &Path) -> anyhow::Result<()> {
    let mut instance = Instance::new(binary);
    let template = instance.stub_template(PowerButton::Ignored);
    let names: Vec<String> = (0..STUBBORN).map(|index| format!("vm{index}")).collect();
    instance.rdd_ok(&["svc", "start"]);
    start(&instance, &names, &template, |name| {
        let patience = format!(
            "{{\"spec\":{{\"stop\":{{\"gracePeriod\":\"{}s\"}}}}}}",
            GRACE.as_secs()
        );
        kubectl(
            &instance,
            &["patch", "limavm", name, "--type=merge", "-p", &patience],
        );
    });
    let began = Instant::now();
    instance.rdd_ok(&["svc", "stop", "--wait"]);
    let took = began.elapsed();
    ensure!(took >= GRACE, "the guests did not ignore their shutdown");
    let left = instance.leftovers();
    ensure!(left.is_empty(), "left behind: {left:?}");
    print(
        "stop_10_stubborn_vms_beyond_grace",
        milliseconds(took.saturating_sub(GRACE)),
        "ms",
    );
    Ok(())
}

/// Starts VMs with these names at the same time, and calls a function with each when it runs.
fn start<T>(
    instance: &Instance,
    names: &[String],
    template: &Path,
    mut with: impl FnMut(&str) -> T,
) -> Vec<T> {
    let template = template.to_string_lossy();
    for name in names {
        instance.rdd_ok(&[
            "limavm",
            "create",
            name,
            &template,
            "--start",
            "--wait=false",
        ]);
    }
    names
        .iter()
        .map(|name| {
            running(instance, name);
            with(name)
        })
        .collect()
}

fn running(instance: &Instance, name: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"Running\")].reason}";
    poll(BOOT, &format!("{name} to run"), || {
        let seen = kubectl(instance, &["get", "limavm", name, "-o", path]);
        if seen == "Started" { Ok(()) } else { Err(seen) }
    });
}

fn kubectl(instance: &Instance, args: &[&str]) -> String {
    let run = instance
        .run("kubectl", Duration::from_secs(60))
        .arg("--kubeconfig")
        .arg(instance.kubeconfig())
        .args(args);
    run.run_any()
        .map_or_else(|error| error.to_string(), |output| output.text())
}

/// Kills the process whose command line contains these words, and waits until it has exited.
fn kill(instance: &Instance, words: &[&str]) -> anyhow::Result<()> {
    let all = instance.leftovers();
    let mut found = all
        .iter()
        .filter(|one: &&Leftover| words.iter().all(|word| one.command.contains(word)));
    let one = found
        .next()
        .with_context(|| format!("no process is {words:?}: {all:?}"))?;
    one.process.signal(Signal::Kill)?;
    ensure!(
        one.process.wait(Instant::now() + BOOT).is_exited(),
        "{one:?} cannot be killed"
    );
    Ok(())
}

/// Waits until the daemon is connected to this number of hostagents. It keeps a connection to those that it has adopted,
/// and the kernel lists their sockets.
fn wait_until(instance: &Instance, names: &[String], what: &str, right: impl Fn(usize) -> bool) {
    let sockets: Vec<String> = names
        .iter()
        .map(|name| {
            instance
                .lima_home()
                .join(name)
                .join("ha.sock")
                .display()
                .to_string()
        })
        .collect();
    let mut before = false;
    poll(BOOT, what, || {
        // Num RefCount Protocol Flags Type St Inode Path (proc_net(5)); state 03 is "connected".
        let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let connected = |socket: &&String| {
            table.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.nth(5) == Some("03") && line.ends_with(socket.as_str())
            })
        };
        let count = sockets.iter().filter(connected).count();
        // A single request opens a connection as well, and closes it at once.
        if std::mem::replace(&mut before, right(count)) && before {
            Ok(())
        } else {
            Err(format!("{count} of {}", names.len()))
        }
    });
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
