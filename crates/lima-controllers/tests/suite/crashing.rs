//! VMs that end by themselves, or fail to start.

use api::lima::{condition as types, reason};
use serde_json::json;
use testutils::{Bystander, poll_async};

use crate::support::{LONG, Plane, condition, holder, status};

#[tokio::test]
async fn h19_failed_start_is_explained_and_succeeds_once_the_cause_is_gone() {
    let plane = Plane::start().await;
    plane.create_stopped("vm").await;
    plane.make("vm", "no-luck");
    plane.set_running("vm", true).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::START_FAILED)
        .await;
    let message = &condition(&vm, types::RUNNING).message;
    assert!(
        message.contains("out of luck") && message.contains("starting again in"),
        "{message}"
    );
    assert!(status(&vm).last_error.unwrap().contains("out of luck"));
    plane.heal("vm", "no-luck");
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert!(
        status(&vm).last_error.unwrap().contains("out of luck"),
        "it is still the last failure"
    );
    plane.end().await;
}

#[tokio::test]
async fn hostagent_that_hangs_before_it_takes_its_lock_is_killed_and_replaced() {
    let plane = Plane::start().await;
    plane.create_stopped("vm").await;
    plane.make("vm", "lockless");
    plane.set_running("vm", true).await;
    let hung = plane.dir("vm").join("hung");
    let hung: process::Identity = poll_async(LONG, "a hostagent", async || {
        let text = std::fs::read_to_string(&hung).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    })
    .await;
    poll_async(LONG, "its end", async || {
        match process::Process::open(&hung).unwrap() {
            Some(process) if process.is_running() => Err("it lives"),
            _ => Ok(()),
        }
    })
    .await;
    plane.heal("vm", "lockless");
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_ne!(holder(&plane, "vm"), Some(hung));
    assert_eq!(plane.starts("vm"), 1);
    plane.end().await;
}

#[tokio::test]
async fn h19_repeated_failures_lengthen_the_pause_and_a_stop_takes_effect() {
    let plane = Plane::start().await;
    plane.create_stopped("vm").await;
    plane.make("vm", "no-luck");
    plane.set_running("vm", true).await;
    for pause in [1, 2, 4] {
        let again = format!("starting again in {pause} s");
        plane
            .wait("vm", &again, |vm| {
                vm.condition(types::RUNNING)
                    .is_some_and(|running| running.message.ends_with(&again))
            })
            .await;
    }
    assert_eq!(plane.starts("vm"), 3);
    plane.set_running("vm", false).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    // After a new request it starts at once, and the pause is the shortest again.
    plane.set_running("vm", true).await;
    plane
        .wait("vm", "starting with the first pause again", |vm| {
            condition(vm, types::RUNNING)
                .message
                .ends_with("starting again in 1 s")
        })
        .await;
    assert_eq!(plane.starts("vm"), 4);
    let events = plane.wait_events("vm", &[reason::START_FAILED]).await;
    let failed: Vec<_> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some(reason::START_FAILED))
        .collect();
    assert!(failed.len() <= 3, "a crash loop does not fill the store");
    plane.set_running("vm", false).await;
    plane.end().await;
}

#[tokio::test]
async fn h19_machine_that_ended_by_itself_is_started_again_and_its_last_lines_are_shown() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let last_lines = "QEMU ended; last lines of the guest's console:\nKernel panic";
    plane.make_with("vm", "crashes", last_lines);
    let vm = plane
        .wait("vm", "up again", |vm| status(vm).restart_count == 2)
        .await;
    assert!(status(&vm).last_error.unwrap().starts_with(last_lines));
    let events = plane.wait_events("vm", &[reason::START_FAILED]).await;
    assert!(events.iter().any(|event| {
        event.type_.as_deref() == Some("Warning")
            && event
                .message
                .as_ref()
                .is_some_and(|message| message.starts_with(last_lines))
    }));
    plane.end().await;
}

#[tokio::test]
async fn h20_next_controller_reports_what_happened_while_none_ran() {
    let mut plane = Plane::start().await;
    for name in ["crashed", "killed"] {
        plane.create_up(name).await;
    }
    plane.crash().await;
    plane.make_with("crashed", "crashes", "the disk is gone");
    plane.kill_hostagent("killed");
    poll_async(LONG, "both to be gone", async || {
        match holder(&plane, "crashed").or_else(|| holder(&plane, "killed")) {
            None => Ok(()),
            Some(identity) => Err(format!("{identity:?}")),
        }
    })
    .await;
    plane.start_controllers().await;
    for (name, cause) in [
        ("crashed", "the disk is gone"),
        ("killed", "the hostagent ended without an error message"),
    ] {
        let vm = plane
            .wait(name, "up again", |vm| status(vm).restart_count == 2)
            .await;
        let error = status(&vm).last_error.unwrap_or_default();
        assert!(error.starts_with(cause), "{error}");
        let events = plane.wait_events(name, &[reason::START_FAILED]).await;
        assert!(
            events
                .iter()
                .any(|event| event.message.as_ref().is_some_and(|m| m.starts_with(cause))),
            "{events:?}"
        );
    }
    plane.end().await;
}

#[tokio::test]
async fn h28_state_of_another_boot_of_the_host_names_no_process() {
    let mut plane = Plane::start().await;
    plane.create_stopped("vm").await;
    plane.set_running("vm", true).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    plane.crash().await;
    plane.kill_hostagent("vm");
    // The state after a power cut of the host: status and files show a VM that is starting, and their PIDs belong to other
    // processes by now.
    let bystander = Bystander::new();
    let pid = bystander.pid();
    for reason in ["Starting", "Started", "Stopping", "Reconciling"] {
        let status_of = if reason == "Started" { "True" } else { "False" };
        let forged = json!({
            "pid": pid, "start_time": 1, "boot_id": "another boot",
        });
        for file in ["ha.pid", "ha.json", "qemu.json", "ha.lock"] {
            let text = match file {
                "ha.pid" => pid.to_string(),
                "ha.lock" => json!({ "identity": forged, "label": "hostagent" }).to_string(),
                _ => json!({ "qemu": forged, "identity": forged }).to_string(),
            };
            std::fs::write(plane.dir("vm").join(file), text).unwrap();
        }
        let _ = std::fs::remove_file(plane.dir("vm").join("ha.sock"));
        std::fs::write(plane.dir("vm").join("ha.sock"), "").unwrap();
        let mut vm = plane.get("vm").await;
        let process = json!({ "pid": pid, "startTime": "2020-01-01T00:00:00Z" });
        let mut status = serde_json::to_value(vm.status.take().unwrap()).unwrap();
        status["hostagent"] = process.clone();
        status["machine"] = process;
        for condition in status["conditions"].as_array_mut().unwrap() {
            if condition["type"] == types::RUNNING {
                condition["reason"] = reason.into();
                condition["status"] = status_of.into();
            }
        }
        let starts = plane.starts("vm");
        vm.status = Some(serde_json::from_value(status).unwrap());
        plane
            .vms()
            .replace_status("vm", &Default::default(), &vm)
            .await
            .unwrap();
        plane.start_controllers().await;
        plane
            .wait("vm", &format!("up after {reason}"), |vm| {
                condition(vm, types::RUNNING).reason == reason::STARTED
                    && crate::support::status(vm)
                        .hostagent
                        .is_some_and(|hostagent| hostagent.pid != i64::from(pid))
            })
            .await;
        assert_eq!(plane.starts("vm"), starts + 1, "{reason}");
        plane.crash().await;
        plane.kill_hostagent("vm");
    }
    bystander.assert_untouched();
    plane.end().await;
}
