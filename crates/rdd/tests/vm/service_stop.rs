//! The daemon stops, restarts and describes, with a real guest that notices it or does not.

use std::time::Duration;

use process::Signal;
use testutils::stub_guest::PowerButton;
use testutils::{Instance, poll};

use crate::guest::{BOOT, Guest, NAME};

/// A stop and a restart of the daemon alone: the guest goes on, reachable all the time, and is under control again.
#[test]
fn h20_the_vms_outlive_a_stop_and_a_restart_of_the_daemon() {
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
    // Through ssh alone: no control plane is there to be asked.
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

    // And the one that came last is in charge.
    guest.rdd(&["limavm", "stop", NAME]);
    guest.rdd(&["svc", "stop"]);
    guest.instance.assert_no_leftovers();
}

/// A hostagent that dies while no daemon looks is replaced by the next daemon, and QEMU goes on.
#[test]
fn h18_a_hostagent_that_died_meanwhile_is_replaced_by_the_next_daemon() {
    let guest = Guest::boot();
    let boot = guest.boot_id();
    guest.rdd(&["svc", "stop", "--keep-vms"]);
    guest.process(&["hostagent"]).signal(Signal::Kill).unwrap();
    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.boot_id(), boot);
}

/// What a VM's user reads of it, with rdd and with kubectl.
#[test]
fn a_vm_that_ran_tells_its_story() {
    let guest = Guest::boot();
    let told = guest.rdd(&["limavm", "describe", NAME]);
    let line = |key: &str| {
        let found = told.lines().find(|line| line.starts_with(key));
        found.unwrap_or_else(|| panic!("{key}: {told}")).to_owned()
    };
    let pid = |words: &[&str]| guest.process(words).identity().pid();
    assert!(line("State:").ends_with("Started"), "{told}");
    assert!(
        line("Hostagent:").contains(&format!("PID {},", pid(&["hostagent"]))),
        "{told}"
    );
    assert!(
        line("Machine:").contains(&format!("PID {},", pid(&["qemu-system"]))),
        "{told}"
    );
    let port = guest.field("{.status.sshLocalPort}");
    assert!(
        line("SSH:").contains(&format!("127.0.0.1:{port} ")),
        "{told}"
    );
    let (_, phases) = told.split_once("Phases:").unwrap();
    let (phases, _) = phases.split_once("Last error:").unwrap();
    for phase in ["preparing", "starting", "booting", "login"] {
        let line = phases.lines().find(|line| line.contains(phase));
        assert!(
            line.is_some_and(|line| line.ends_with('s')),
            "{phase}: {told}"
        );
    }
    let events = poll(BOOT, "the start among the events", || {
        let told = guest.kubectl(&["describe", "limavm", NAME]);
        match told.split_once("Events:") {
            Some((_, events)) if events.contains("Started") => Ok(told),
            _ => Err(told),
        }
    });
    assert!(
        events.contains(&port) && events.contains("booting"),
        "{events}"
    );
}

/// Something in the guest that is done when it shuts down in order.
fn leave_a_note_at_shutdown(guest: &Guest) {
    guest.ssh(&["sudo", "sh", "-c", "rm -f /root/at-stop; printf 'orderly' > /root/at-stop.tmp && sync && systemd-run --quiet --property=Type=oneshot --property=RemainAfterExit=yes --property='ExecStop=/bin/mv /root/at-stop.tmp /root/at-stop' /bin/true"]);
}

fn notes(guest: &Guest) -> String {
    guest.ssh(&["sudo", "ls", "/root"])
}

/// Who forces a stop asks nobody: the guest gets no chance to shut down.
#[test]
fn h17_a_forced_stop_asks_nobody() {
    let guest = Guest::boot();
    leave_a_note_at_shutdown(&guest);
    guest.rdd(&["limavm", "stop", NAME, "--force"]);
    guest.wait_for("Running", "False", "Stopped");
    guest.rdd(&["limavm", "start", NAME]);
    assert_eq!(notes(&guest), "at-stop.tmp");

    // Only that once: the next stop asks.
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

/// A stop that is under way, with an hour of time, is forced: with one VM, and with the daemon and all of its VMs.
#[test]
fn h17_who_loses_patience_forces_the_stop_that_is_under_way() {
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

/// A daemon on its way out is of no use to somebody who wants one that stays.
#[test]
fn who_starts_a_daemon_that_is_stopping_gets_the_next_one() {
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
