//! Adoption after a crash, without an effect on the guest.

use std::time::Duration;

use process::Signal;
use testutils::poll;

use crate::guest::{Guest, NAME};

/// Hazard 20: the daemon is killed; the next one adopts the running VM.
#[test]
fn h20_killed_daemon_reboots_no_vm() {
    let guest = Guest::boot();
    let before = guest.boot_id();
    let hostagent = guest.process(&["hostagent"]).identity().clone();
    let daemon = guest.process(&["svc", "serve"]);
    daemon.signal(Signal::Kill).unwrap();
    assert!(
        daemon
            .wait(std::time::Instant::now() + Duration::from_secs(10))
            .is_exited()
    );

    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.boot_id(), before);
    assert_eq!(guest.process(&["hostagent"]).identity(), &hostagent);
    assert_eq!(guest.field("{.status.restartCount}"), "1");
    // The new daemon controls the VM that it did not start.
    guest.rdd(&["limavm", "stop", NAME, "--wait"]);
    guest.wait_for("Running", "False", "Stopped");
}

/// Hazard 18: the hostagent is killed; a new one adopts QEMU.
#[test]
fn h18_killed_hostagent_does_not_reboot_its_vm() {
    let guest = Guest::boot();
    let before = guest.boot_id();
    let qemu = guest.process(&["qemu-system"]).identity().clone();
    let hostagent = guest.process(&["hostagent"]);
    hostagent.signal(Signal::Kill).unwrap();

    poll(Duration::from_secs(60), "another hostagent", || {
        let agents: Vec<_> = guest
            .instance
            .leftovers()
            .into_iter()
            .filter(|one| one.command.contains("hostagent"))
            .collect();
        match &agents[..] {
            [one] if one.process.identity() != hostagent.identity() => Ok(()),
            _ => Err(format!("{agents:?}")),
        }
    });
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.boot_id(), before);
    assert_eq!(guest.process(&["qemu-system"]).identity(), &qemu);
    guest.rdd(&["limavm", "stop", NAME, "--wait"]);
    // The guest agent still runs, and the event names no cause for the killed process.
    let story = guest.instance.rdd_ok(&["limavm", "describe", NAME]);
    assert!(!story.contains("no agent"), "{story}");
    assert!(story.contains("ended without an error message"), "{story}");
    guest.instance.rdd_ok(&["svc", "stop"]);
    guest.instance.assert_no_leftovers();
}

/// When QEMU dies, the VM is started again, because its spec says that it runs.
#[test]
fn killed_qemu_is_started_again() {
    let guest = Guest::boot();
    let before = guest.boot_id();
    guest
        .process(&["qemu-system"])
        .signal(Signal::Kill)
        .unwrap();
    poll(crate::guest::BOOT, "the second start", || {
        let count = guest.field("{.status.restartCount}");
        if count == "2" { Ok(()) } else { Err(count) }
    });
    guest.wait_for("Running", "True", "Started");
    assert_ne!(guest.boot_id(), before);
}

/// The first boot writes its results durably before it reports them, so a power-off does not change the ssh host keys.
#[test]
fn h24_guest_switched_off_in_its_first_boot_keeps_its_ssh_host_keys() {
    let guest = Guest::boot();
    let known = guest.ssh(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]);
    assert!(known.starts_with("ssh-ed25519 "), "{known}");
    guest.rdd(&["limavm", "restart", NAME, "--force", "--wait"]);
    let now = guest.ssh(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]);
    assert_eq!(now, known);
}
