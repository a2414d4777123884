//! Stop, restart and description of the control plane with a real guest.

use std::time::Duration;

use process::Signal;
use testutils::stub_guest::PowerButton;
use testutils::{Instance, poll};

use crate::guest::{BOOT, Guest, NAME};

/// The daemon is stopped and restarted without its VM. The guest stays reachable, and the next daemon controls it.
#[test]
fn h20_vms_outlive_a_stop_and_a_restart_of_the_daemon() {
    let guest = Guest::boot();
    let boot = guest.boot_id();
    let hostagent = guest.process(&["hostagent"]).identity().clone();
    let qemu = guest.process(&["qemu-system"]).identity().clone();

    guest.rdd(&["svc", "stop", "--keep-vms"]);
    assert!(
        guest
            .instance
            .leftovers()
            .iter()
            .all(|one| !one.command.contains("svc serve"))
    );
    // Through ssh only, because no control plane runs.
    assert_eq!(guest.boot_id(), boot);
    let again = guest.instance.rdd(&["svc", "stop"]);
    let again = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        again.contains("go on running without a control plane: web"),
        "{again}"
    );

    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    guest.rdd(&["svc", "restart"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.boot_id(), boot);
    assert_eq!(guest.process(&["hostagent"]).identity(), &hostagent);
    assert_eq!(guest.process(&["qemu-system"]).identity(), &qemu);
    assert_eq!(guest.field("{.status.restartCount}"), "1");

    // The last daemon controls the VM.
    guest.rdd(&["limavm", "stop", NAME]);
    guest.rdd(&["svc", "stop"]);
    guest.instance.assert_no_leftovers();
}

/// A hostagent that dies while no daemon runs is replaced by the next daemon, and QEMU keeps running.
#[test]
fn h18_hostagent_that_died_without_a_daemon_is_replaced_by_the_next_daemon() {
    let guest = Guest::boot();
    let boot = guest.boot_id();
    guest.rdd(&["svc", "stop", "--keep-vms"]);
    guest.process(&["hostagent"]).signal(Signal::Kill).unwrap();
    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.boot_id(), boot);
}

/// The descriptions of rdd and of kubectl.
#[test]
fn describe_shows_the_history_of_a_vm_that_ran() {
    let guest = Guest::boot();
    let shown = guest.rdd(&["limavm", "describe", NAME]);
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.starts_with(key));
        found.unwrap_or_else(|| panic!("{key}: {shown}")).to_owned()
    };
    let pid = |words: &[&str]| guest.process(words).identity().pid();
    assert!(line("State:").ends_with("Started"), "{shown}");
    assert!(
        line("Hostagent:").contains(&format!("PID {},", pid(&["hostagent"]))),
        "{shown}"
    );
    assert!(
        line("Machine:").contains(&format!("PID {},", pid(&["qemu-system"]))),
        "{shown}"
    );
    let port = guest.field("{.status.sshLocalPort}");
    assert!(
        line("SSH:").contains(&format!("127.0.0.1:{port} ")),
        "{shown}"
    );
    let (_, phases) = shown.split_once("Phases:").unwrap();
    let (phases, _) = phases.split_once("Last error:").unwrap();
    for phase in ["preparing", "starting", "booting", "login"] {
        let line = phases.lines().find(|line| line.contains(phase));
        assert!(
            line.is_some_and(|line| line.ends_with('s')),
            "{phase}: {shown}"
        );
    }
    let events = poll(BOOT, "the start among the events", || {
        let shown = guest.kubectl(&["describe", "limavm", NAME]);
        match shown.split_once("Events:") {
            Some((_, events)) if events.contains("Started") => Ok(shown),
            _ => Err(shown),
        }
    });
    assert!(
        events.contains(&port) && events.contains("booting"),
        "{events}"
    );
}

/// Installs a service in the guest that leaves a file at a clean shutdown.
fn leave_a_note_at_shutdown(guest: &Guest) {
    guest.ssh(&["sudo", "sh", "-c", "rm -f /root/at-stop; printf 'orderly' > /root/at-stop.tmp && sync && systemd-run --quiet --property=Type=oneshot --property=RemainAfterExit=yes --property='ExecStop=/bin/mv /root/at-stop.tmp /root/at-stop' /bin/true"]);
}

fn notes(guest: &Guest) -> String {
    guest.ssh(&["sudo", "ls", "/root"])
}

/// A forced stop switches the machine off without a shutdown of the guest.
#[test]
fn h17_forced_stop_does_not_wait_for_the_guest() {
    let guest = Guest::boot();
    leave_a_note_at_shutdown(&guest);
    guest.rdd(&["limavm", "stop", NAME, "--force"]);
    guest.wait_for("Running", "False", "Stopped");
    guest.rdd(&["limavm", "start", NAME]);
    assert_eq!(notes(&guest), "at-stop.tmp");

    // Only this once: the next stop shuts the guest down.
    leave_a_note_at_shutdown(&guest);
    guest.rdd(&["limavm", "restart", NAME]);
    assert_eq!(notes(&guest), "at-stop");

    leave_a_note_at_shutdown(&guest);
    guest.rdd(&["svc", "stop", "--force"]);
    guest.instance.assert_no_leftovers();
    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(notes(&guest), "at-stop.tmp");
}

/// Makes the guest's shutdown hang for ever.
fn hang_at_shutdown(guest: &Guest) {
    guest.ssh(&[
        "sudo",
        "systemd-run",
        "--quiet",
        "--property=Type=oneshot",
        "--property=RemainAfterExit=yes",
        "--property=TimeoutStopSec=infinity",
        "--property=ExecStop=/bin/sleep infinity",
        "/bin/true",
    ]);
}

/// A stop with a grace period of an hour has begun, and a second command forces it: of one VM, and of the daemon with its
/// VMs.
#[test]
fn h17_second_stop_with_force_shortens_the_first() {
    let guest = Guest::boot();
    let hour = "--grace-period=1h";
    hang_at_shutdown(&guest);
    guest.rdd(&["limavm", "stop", NAME, hour, "--wait=false"]);
    guest.wait_for("Running", "Unknown", "Stopping");
    assert!(guest.rdd(&["limavm", "list"]).contains(" Stopping "));
    guest.rdd(&["limavm", "stop", NAME, "--force"]);
    guest.wait_for("Running", "False", "Stopped");

    guest.rdd(&["limavm", "start", NAME]);
    hang_at_shutdown(&guest);
    guest.rdd(&["svc", "stop", hour, "--wait=false"]);
    guest.wait_for("Running", "Unknown", "Stopping");
    guest.rdd(&["svc", "stop", "--force"]);
    guest.instance.assert_no_leftovers();
}

/// A start during a stop waits for the end of the stopping daemon.
#[test]
fn start_during_a_stop_gets_a_new_daemon() {
    let mut instance = Instance::new(env!("CARGO_BIN_EXE_rdd"));
    let template = instance.stub_template(PowerButton::Ignored);
    let template = template.display().to_string();
    instance.rdd_ok(&["limavm", "create", NAME, &template, "--start", "--wait"]);
    let ready_file = instance.dir().join("ready.json");
    let daemon = || {
        let ready: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        (ready["daemon"].clone(), ready["stopping"] == true)
    };
    let first = daemon();
    assert!(!first.1);
    instance.rdd_ok(&["svc", "stop", "--grace-period=3s", "--wait=false"]);
    poll(
        Duration::from_secs(10),
        "the daemon to say that it stops",
        || {
            if daemon().1 {
                Ok(())
            } else {
                Err("it does not")
            }
        },
    );
    instance.rdd_ok(&["svc", "start"]);
    let second = daemon();
    assert_ne!(second.0, first.0);
    assert!(!second.1);
}
