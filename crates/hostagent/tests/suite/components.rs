//! The components with a real QEMU: the sizes of logs, the guest's host keys, a full disk of the host.

use std::io::Write;
use std::time::Duration;

use hostagent::status::{Ended, Event, Phase};
use testutils::poll_async;

use crate::BEYOND_GRACE;
use crate::guest_agent::{Agent, WITHOUT_AGENT};
use crate::support::{PATIENCE, Vm};

/// The size of a log that is longer than the hostagent keeps.
const LONG: usize = 3 << 20;

#[tokio::test]
async fn logs_of_a_running_vm_are_cut_and_still_written() {
    let vm = Vm::new();
    vm.boot().await;
    // Written in one piece, so that the log is not cut in the middle of it.
    let mut long = vec![b'x'; LONG];
    long.extend_from_slice(b"\nthe end\n");
    let logs = [vm.dir.serial_log(), vm.dir.ha_stderr_log()];
    for log in &logs {
        let mut file = std::fs::File::options().append(true).open(log).unwrap();
        file.write_all(&long).unwrap();
    }
    for log in &logs {
        poll_async(PATIENCE, "the log to be cut", async || {
            let length = std::fs::metadata(log).unwrap().len();
            if length < 1 << 20 {
                Ok(())
            } else {
                Err(length)
            }
        })
        .await;
        let mut kept = log.clone().into_os_string();
        kept.push(".cut");
        let kept = std::fs::read(kept).unwrap();
        assert!(kept.len() <= 1 << 20 && kept.windows(8).any(|part| part == b"the end\n"));
    }
    // The guest's firmware and the hostagent write at the new end.
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    assert!(vm.log().contains("the VM is gone"), "{}", vm.log());
}

/// The keys that the agent reports are pinned before the first login, and no other key is accepted from then on.
#[tokio::test]
async fn host_keys_of_the_agent_are_pinned_and_the_shared_connection_ends_with_the_vm() {
    let vm = Vm::new();
    let calls = vm.dir.path().join("calls");
    vm.set_ssh(&format!("echo \"$@\" >> '{}'", calls.display()));
    vm.set_qemu(WITHOUT_AGENT);
    vm.spawn().await;
    let mut agent = Agent::of(&vm).await;
    agent.host_keys = vec!["ssh-ed25519 AAAAC3Nz root@guest".into()];
    agent.send_status().await;
    vm.wait_for("the VM to run", |info| info.phase == Phase::Running)
        .await;
    let known_hosts = vm.dir.path().join("known_hosts");
    poll_async(PATIENCE, "the pinned key", async || {
        let text = std::fs::read_to_string(&known_hosts).unwrap_or_default();
        if text == "lima-vm ssh-ed25519 AAAAC3Nz\n" {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    let config = std::fs::read_to_string(vm.dir.ssh_config()).unwrap();
    assert!(config.contains("StrictHostKeyChecking yes"), "{config}");
    assert!(!config.contains("/dev/null"), "{config}");

    // The socket of a shared connection, which `ssh` makes with this configuration.
    std::fs::write(vm.dir.ssh_sock(), "").unwrap();
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    let calls = std::fs::read_to_string(calls).unwrap();
    assert!(calls.contains("-O exit lima-vm"), "{calls}");
    for path in [vm.dir.ssh_sock(), vm.dir.ssh_config()] {
        assert!(!path.exists(), "{} is left", path.display());
    }
    // The next start accepts the pinned keys only, from its first login on.
    vm.set_qemu("exec $QEMU \"$@\"");
    vm.boot().await;
    let config = std::fs::read_to_string(vm.dir.ssh_config()).unwrap();
    assert!(config.contains("StrictHostKeyChecking yes"), "{config}");
}

#[tokio::test]
async fn last_event_contains_how_the_vm_ended() {
    let vm = Vm::new();
    vm.boot().await;
    vm.client().await.stop(Duration::ZERO).await.unwrap();
    vm.gone_within(BEYOND_GRACE).await;
    let log = std::fs::read_to_string(vm.dir.ha_stdout_log()).unwrap();
    let last: Event = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last.ended, Some(Ended::Stopped));
}
