//! Many VMs, some of which misbehave: none of them affects another.

use std::collections::BTreeMap;
use std::time::Duration;

use api::lima::{condition as types, reason};
use controller_kit::Shutdown;
use futures::future::join_all;
use testutils::poll_async;

use crate::support::{LONG, Plane, condition, holder, status};

/// No hostagent ends before all were asked, and none is killed: a controller that waited for one before asking the next
/// would wait for ever. Half of the VMs are booting.
#[tokio::test]
async fn h31_all_vms_are_asked_to_stop_before_any_is_waited_for() {
    let mut plane = Plane::start().await;
    let names: Vec<String> = (0..10).map(|number| format!("vm{number}")).collect();
    join_all(names.iter().enumerate().map(async |(number, name)| {
        if number % 2 == 0 {
            plane.create_up(name).await;
        } else {
            plane.create_hanging(name, "boots").await;
        }
        plane.make(name, "lingers");
    }))
    .await;
    // Longer than any test waits.
    let grace = Duration::from_secs(3600);
    let (_sooner, ending) = plane.begin_stop(Shutdown::StopWorkloads { grace });
    for name in &names {
        let events = plane.dir(name).join("ha.stdout.log");
        poll_async(LONG, &format!("{name} to be asked"), async || {
            let events = std::fs::read_to_string(&events).unwrap_or_default();
            if events.contains(r#""phase":"stopping""#) {
                Ok(())
            } else {
                Err(events)
            }
        })
        .await;
    }
    for name in &names {
        assert!(holder(&plane, name).is_some(), "{name} has not ended");
        plane.heal_all(name);
    }
    ending.await.unwrap().unwrap();
    for name in &names {
        assert_eq!(holder(&plane, name), None, "{name}");
        assert_eq!(plane.starts(name), 1, "{name} was not started again");
        let vm = plane.get(name).await;
        assert_eq!(condition(&vm, types::RUNNING).reason, reason::STOPPED);
    }
}

#[tokio::test]
async fn h31_vms_that_ignore_everything_are_gone_in_one_grace_period_and_start_with_the_next_control_plane()
 {
    let mut plane = Plane::start().await;
    let ways = ["deaf", "lingers", "mute", "boots", "unbound"];
    let names: Vec<String> = (0..10).map(|number| format!("vm{number}")).collect();
    let way = |number: usize| ways[number % ways.len()];
    let hanging = |number: usize| plane.create_hanging(&names[number], way(number));
    join_all((0..names.len()).map(hanging)).await;
    for name in &names {
        plane.make(name, "deaf");
    }
    // The test above shows that no VM waits for another. Here a host under load can take its time.
    let grace = Duration::from_secs(1);
    plane.stop(Shutdown::StopWorkloads { grace }).await;
    for (number, name) in names.iter().enumerate() {
        assert_eq!(holder(&plane, name), None, "{name} is {}", way(number));
        let vm = plane.get(name).await;
        assert_eq!(condition(&vm, types::RUNNING).reason, reason::STOPPED);
        assert!(vm.spec.running, "the shutdown does not change the spec");
        plane.heal_all(name);
    }
    plane.start_controllers().await;
    for name in &names {
        plane
            .wait_reason(name, types::RUNNING, reason::STARTED)
            .await;
    }
    plane.end().await;
}

#[tokio::test]
async fn h32_hanging_vm_delays_no_other_vm_in_any_state() {
    let plane = Plane::start().await;
    // One hangs in its preparation: its image comes from a server that never answers.
    let silent_server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("http://{}/image.raw", silent_server.local_addr().unwrap());
    let template = plane.template().replace(
        plane.folder.path().join("image.raw").to_str().unwrap(),
        &image,
    );
    plane.put_template("stuck", &template).await;
    let mut preparing = crate::support::vm("preparing", true);
    preparing.spec.template_ref.name = "stuck".into();
    plane
        .vms()
        .create(&Default::default(), &preparing)
        .await
        .unwrap();
    plane
        .wait_reason("preparing", types::CREATED, reason::PENDING)
        .await;
    // The others hang when they start, boot, run and stop.
    let hung = ["unbound", "boots", "mute", "lingers"];
    for name in hung {
        plane.create_hanging(name, name).await;
        plane
            .patch(
                name,
                serde_json::json!({ "spec": { "stop": { "gracePeriod": "1h" } } }),
            )
            .await;
    }
    plane.set_running("lingers", false).await;
    plane
        .wait_reason("lingers", types::RUNNING, reason::STOPPING)
        .await;

    plane.create_up("healthy").await;
    plane.set_running("healthy", false).await;
    plane
        .wait_reason("healthy", types::RUNNING, reason::STOPPED)
        .await;
    plane.delete("healthy").await;
    plane.wait_gone("healthy").await;

    let preparing = plane.get("preparing").await;
    assert_eq!(
        condition(&preparing, types::CREATED).reason,
        reason::PENDING
    );
    let lingers = plane.get("lingers").await;
    assert_eq!(
        condition(&lingers, types::RUNNING).reason,
        reason::STOPPING,
        "they still hang"
    );
    for name in hung {
        plane.heal_all(name);
    }
    plane.delete("preparing").await;
    plane.wait_gone("preparing").await;
    plane.end().await;
}

/// A generator of numbers that look random and are the same in each run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[tokio::test]
async fn h33_every_end_of_a_hostagent_is_noticed_among_fifty_vms() {
    let plane = Plane::start().await;
    let names: Vec<String> = (0..50).map(|number| format!("vm{number}")).collect();
    join_all(names.iter().map(|name| plane.create_up(name))).await;
    let mut dice = Dice(0x5eed_cafe);
    let mut left_alone = vec![true; names.len()];
    // In bursts, so that many wake-ups come at the same moment, also for one VM.
    for _ in 0..4 {
        let mut victims = BTreeMap::new();
        for _ in 0..20 {
            let victim = dice.roll(names.len());
            let name = &names[victim];
            let before = status(&plane.get(name).await).restart_count;
            if holder(&plane, name).is_some() {
                plane.kill_hostagent(name);
                victims.entry(victim).or_insert(before);
                left_alone[victim] = false;
            }
        }
        for (victim, before) in victims {
            plane
                .wait(&names[victim], "up again", |vm| {
                    condition(vm, types::RUNNING).reason == reason::STARTED
                        && status(vm).restart_count > before
                })
                .await;
        }
    }
    for (name, left_alone) in names.iter().zip(left_alone) {
        assert!(holder(&plane, name).is_some(), "{name} runs");
        assert_eq!(plane.starts(name) == 1, left_alone, "{name}");
    }
    plane.end().await;
}
