//! The steps of hostagents, QEMUs and guests.

use crate::world::{
    Agent, Broken, Flaw, Health, Lock, Mode, Named, Phase, Qemu, Request, Rules, Stage, Started,
    World,
};

/// `hostagent/src/lib.rs: run`: a hostagent that was started tries to take the lock. Without the folder or the lock it
/// ends. `mine`: the current daemon started it last.
pub(crate) fn newcomer(world: &World, mine: bool, rules: &Rules) -> World {
    let mut next = *world;
    next.waiting -= 1;
    if mine {
        next.daemon.started = Started::Past;
    }
    if world.lock != Lock::Free {
        next.break_if(
            rules.flaw == Some(Flaw::IgnoresLock) && world.agent.is_some(),
            Broken::TwoAgents,
        );
        return next;
    }
    if world.disk.is_none() {
        return next;
    }
    next.lock = Lock::Agent;
    next.agent = Some(Agent {
        phase: Phase::Locked,
        health: Health::Well,
        asked: false,
        qemu: None,
    });
    next
}

/// The next step of the hostagent that holds the lock; the same world when it waits.
pub(crate) fn agent(world: &World, rules: &Rules) -> World {
    let Some(agent) = world.agent.filter(|agent| agent.health == Health::Well) else {
        return *world;
    };
    let mut next = *world;
    let own = agent.qemu.and_then(|number| world.qemu(number));
    let to = |next: &mut World, phase: Phase| next.agent = Some(Agent { phase, ..agent });
    match agent.phase {
        // `process/src/lock.rs: write_holder`.
        Phase::Locked => {
            next.text = Named::Agent;
            to(&mut next, Phase::Named);
        }
        // `lib.rs: clear_left_overs, Control::start`.
        Phase::Named => to(&mut next, Phase::Preparing),
        // `supervisor.rs: begin`: a stop during the start.
        Phase::Preparing | Phase::Launching | Phase::Waiting if agent.asked => {
            to(&mut next, Phase::Destroying);
        }
        // `prepare.rs: prepare`.
        Phase::Preparing => {
            let seen = match world.machine(rules) {
                Some(_) => Phase::Adopting,
                None => Phase::Launching,
            };
            to(&mut next, seen);
        }
        // `driver/src/qemu/mod.rs: adopt`: the listener answers, or the hostagent gives up and leaves the machine alone.
        Phase::Adopting => match world.machine(rules) {
            None => to(&mut next, Phase::Launching),
            Some(number) if answers(world, number) => {
                next.agent = Some(Agent {
                    phase: if agent.asked {
                        Phase::Stopping
                    } else {
                        Phase::Watching
                    },
                    qemu: Some(number),
                    ..agent
                });
            }
            // A QEMU that was just started does not listen yet, and answers once its disks are open.
            Some(number) if is_starting(world, number) => {}
            Some(_) if agent.asked => to(&mut next, Phase::Destroying),
            Some(_) => to(&mut next, Phase::Exiting),
        },
        // `driver/src/qemu/mod.rs: start`: sockets without an owner are removed, and the record says what will be started.
        Phase::Launching => launch(&mut next, agent, rules),
        Phase::Unrecorded => {
            if let Some(number) = agent.qemu {
                next.record = Named::Qemu(number);
            }
            to(&mut next, Phase::Waiting);
        }
        // `first_answer`.
        Phase::Waiting => match agent.qemu {
            None => to(&mut next, Phase::Exiting),
            Some(number) if answers(world, number) => to(&mut next, Phase::Watching),
            Some(number) if is_starting(world, number) => {}
            Some(number) => {
                next.qemu_ends(number);
                to(&mut next, Phase::Exiting);
            }
        },
        // `supervisor.rs: watch`.
        Phase::Watching => match own {
            None => to(&mut next, Phase::Exiting),
            Some(_) if agent.asked => to(&mut next, Phase::Stopping),
            Some(_) => {}
        },
        // `stop_sequence.rs`: the grace period is over: quit, then SIGKILL to the process that it holds.
        Phase::Stopping => {
            if let Some(number) = agent.qemu {
                next.qemu_ends(number);
            }
            to(&mut next, Phase::Exiting);
        }
        // `supervisor.rs: begin`, `destroy`: until no machine is found.
        Phase::Destroying => {
            if !next.kill_machine(rules) {
                to(&mut next, Phase::Exiting);
            }
        }
        Phase::Exiting => next.agent_ends(),
    }
    next
}

fn launch(next: &mut World, agent: Agent, rules: &Rules) {
    let by_record = rules.flaw == Some(Flaw::FindsByRecord);
    if next.machine(rules).is_some() && !by_record {
        // `owner.rs: take`: the lock is held, so a QEMU is still alive.
        next.agent = Some(Agent {
            phase: Phase::Exiting,
            ..agent
        });
        return;
    }
    let taken = next.qemus.iter().any(Option::is_some);
    next.break_if(taken, Broken::TwoMachines);
    let number = u8::from(next.qemus[0].is_some());
    next.socket = None;
    next.record = Named::NoProcess;
    next.qemus[usize::from(number)] = Some(Qemu {
        stage: Stage::Loading,
        hung: false,
        child: true,
        template: next.disk.is_some_and(|disk| disk.yaml),
        doomed: false,
    });
    next.agent = Some(Agent {
        phase: Phase::Unrecorded,
        qemu: Some(number),
        ..agent
    });
}

/// Whether this QEMU listens and speaks QMP, which it does once its disks are open.
fn answers(world: &World, number: u8) -> bool {
    world.socket == Some(number)
        && world
            .qemu(number)
            .is_some_and(|qemu| !qemu.hung && matches!(qemu.stage, Stage::Booting | Stage::Up))
}

/// Whether the QEMU will answer soon.
fn is_starting(world: &World, number: u8) -> bool {
    world.qemu(number).is_some_and(|qemu| {
        let listens = world.socket == Some(number);
        !qemu.hung
            && match qemu.stage {
                Stage::Loading => true,
                Stage::Listening => listens,
                Stage::Booting | Stage::Up => false,
            }
    })
}

/// The next step of a QEMU; the same world when it waits.
pub(crate) fn qemu(world: &World, number: u8) -> World {
    let Some(qemu) = world.qemu(number).filter(|qemu| !qemu.hung).copied() else {
        return *world;
    };
    let mut next = *world;
    let mut to = |stage: Stage| next.qemus[usize::from(number)] = Some(Qemu { stage, ..qemu });
    match qemu.stage {
        Stage::Loading => {
            to(Stage::Listening);
            // It removes the existing socket and binds a new one.
            next.socket = Some(number);
        }
        Stage::Listening => {
            let other = world.qemu(1 - number);
            let disk_taken =
                other.is_some_and(|other| matches!(other.stage, Stage::Booting | Stage::Up));
            if disk_taken {
                next.qemu_ends(number);
            } else {
                to(Stage::Booting);
            }
        }
        Stage::Booting => to(Stage::Up),
        Stage::Up => {}
    }
    next
}

/// A guest that is asked to power off can do so; it need not.
pub(crate) fn guest_obeys(world: &World) -> World {
    let mut next = *world;
    if let Some(agent) = world.agent
        && agent.phase == Phase::Stopping
        && agent.health == Health::Well
        && let Some(number) = agent.qemu
        && world.qemu(number).is_some_and(|qemu| !qemu.hung)
    {
        next.qemu_ends(number);
    }
    next
}

/// Whether everything is as the user wants it.
pub(crate) fn settled(world: &World) -> bool {
    let alone = world.waiting == 0 && world.daemon.pending.is_none() && world.daemon.task.is_none();
    let Some(request) = world.object else {
        let nothing = !world.lives() && world.disk.is_none() && !world.remains;
        return nothing && world.waiting == 0 && world.lock == Lock::Free;
    };
    let in_order = |request: &Request| {
        world.disk.is_some_and(|disk| {
            disk.yaml == request.template && disk.mark == Some(request.template)
        }) && !world.remains
    };
    let daemon_up = world.daemon.mode == Mode::Up && world.seen == world.object;
    if !alone
        || !daemon_up
        || !in_order(&request)
        || request.deleting
        || request.restart
        || request.reset
    {
        return false;
    }
    if !request.running {
        return !world.lives();
    }
    let Some(agent) = world.agent else {
        return false;
    };
    let Some(number) = agent.qemu else {
        return false;
    };
    let other = world.qemu(1 - number);
    let well = world.qemu(number).is_some_and(|qemu| {
        qemu.stage == Stage::Up && !qemu.hung && qemu.template == request.template
    });
    well && other.is_none()
        && agent.phase == Phase::Watching
        && agent.health == Health::Well
        && !agent.asked
}

/// Whether the VM should run and has a problem that only its user may end: a machine that is alive and cannot be reached
/// (it hangs, or all names of its control socket and its hostagent are gone), or a hostagent that reports progress for
/// ever. The guest may be well, so it is not killed for that. The conditions show the problem, and a stop, a restart or a
/// deletion ends it.
pub(crate) fn left_to_the_user(world: &World) -> bool {
    let wants_up = world.object.is_some_and(|request| request.wants_up());
    let deaf = world
        .agent
        .is_some_and(|agent| agent.health == Health::Deaf);
    let mute = (0..2).any(|number| {
        let hangs = world.qemu(number).is_some_and(|qemu| qemu.hung);
        hangs || is_mute(world, number)
    });
    wants_up && (deaf || mute)
}

fn is_mute(world: &World, number: u8) -> bool {
    let held = world
        .agent
        .is_some_and(|agent| agent.qemu == Some(number) && agent.phase == Phase::Watching);
    let bound = world
        .qemu(number)
        .is_some_and(|qemu| qemu.stage != Stage::Loading);
    bound && world.socket != Some(number) && !held
}
