//! The daemon's jobs, step by step. Each can end half way: by a failure, or with the daemon.

use lima_controllers::limavm::plan::Job;

use crate::world::{Asked, Broken, Disk, Flaw, Lock, Named, Rules, Started, Task, World};

pub(crate) fn start_task(world: &mut World, job: Job, template: bool) {
    world.break_if(world.daemon.task.is_some(), Broken::TwoJobs);
    world.daemon.task = Some(Task {
        job,
        step: 0,
        template,
        cancelled: false,
    });
}

/// `actor/step.rs: job_ended`.
fn task_ends(world: &mut World, job: Job) {
    let daemon = &mut world.daemon;
    daemon.task = None;
    daemon.work_held = false;
    if job == Job::Kill {
        (daemon.lived, daemon.started, daemon.asked) = (false, Started::No, Asked::No);
    }
    if job == Job::DeleteFiles {
        (daemon.lived, daemon.failures, daemon.starts_held) = (false, 0, false);
    }
}

/// A job fails, releases its lock, and the next attempt waits. A failed preparation removes what it created.
pub(crate) fn task_fails(world: &World) -> World {
    let mut next = *world;
    let Some(task) = next.daemon.task.take() else {
        return next;
    };
    unlock(&mut next);
    if task.job == Job::Prepare {
        next.remains = false;
    }
    next.daemon.work_held |= !task.cancelled;
    next
}

fn unlock(world: &mut World) {
    if world.lock == Lock::Job {
        world.lock = Lock::Free;
        world.text = Named::NoProcess;
    }
}

fn lock(world: &mut World) -> bool {
    let free = world.lock == Lock::Free;
    if free {
        world.lock = Lock::Job;
        world.text = Named::Daemon;
    }
    free
}

/// The next step of the job that runs; the same world when it waits.
pub(crate) fn work(world: &World, rules: &Rules) -> World {
    let Some(task) = world.daemon.task else {
        return *world;
    };
    if task.job == Job::Prepare && task.cancelled && task.step < 2 {
        return task_fails(world);
    }
    let mut next = *world;
    let go_to = |next: &mut World, step: u8| next.daemon.task = Some(Task { step, ..task });
    match (task.job, task.step) {
        // `lima/src/instance/prepare.rs: prepare`: prepared aside, renamed, marked (`files.rs: prepare`).
        (Job::Prepare, 0) => {
            next.remains = true;
            go_to(&mut next, 1);
        }
        (Job::Prepare, 1) => {
            next.break_if(world.lives(), Broken::ChangedUnderLife);
            next.remains = false;
            next.disk = Some(Disk {
                yaml: task.template,
                mark: None,
                doomed: false,
            });
            go_to(&mut next, 2);
        }
        (Job::Prepare, _) => {
            if let Some(disk) = &mut next.disk {
                disk.mark = Some(task.template);
            }
            task_ends(&mut next, task.job);
        }
        // `files.rs: write_template`: lock, look for the machine, remove the mark, template, write the mark.
        (Job::WriteTemplate, 0) => {
            if !lock(&mut next) {
                return task_fails(world);
            }
            go_to(&mut next, 1);
        }
        (Job::WriteTemplate, 1) => {
            if world.machine(rules).is_some() && rules.flaw != Some(Flaw::WritesUnproved) {
                return task_fails(world);
            }
            if rules.flaw != Some(Flaw::KeepsMark)
                && let Some(disk) = &mut next.disk
            {
                disk.mark = None;
            }
            go_to(&mut next, 2);
        }
        (Job::WriteTemplate, 2) => {
            next.break_if(world.lives(), Broken::ChangedUnderLife);
            if let Some(disk) = &mut next.disk {
                disk.yaml = task.template;
            }
            go_to(&mut next, 3);
        }
        (Job::WriteTemplate, _) => {
            if let Some(disk) = &mut next.disk {
                disk.mark = Some(task.template);
            }
            unlock(&mut next);
            task_ends(&mut next, task.job);
        }
        // A folder that is gone has no lock: only its remains are deleted.
        (Job::DeleteFiles, 0) if world.disk.is_none() => go_to(&mut next, 4),
        (Job::DeleteFiles, 0) if rules.flaw == Some(Flaw::DeletesUnproved) => {
            go_to(&mut next, 3);
        }
        // `hostagent/src/client/gone.rs: kill`: the holder of the lock with its tree …
        (Job::Kill | Job::DeleteFiles, 0) => {
            if world.lock == Lock::Free || next.kill_holder(true, rules) {
                go_to(&mut next, 1);
            }
        }
        // … the lock, again from the start when a new hostagent was faster …
        (Job::Kill | Job::DeleteFiles, 1) => {
            let step = if lock(&mut next) { 2 } else { 0 };
            go_to(&mut next, step);
        }
        // … and the machine (`driver/src/qemu/mod.rs: destroy`), until none is found.
        (Job::Kill | Job::DeleteFiles, 2) => {
            let forgets = rules.flaw == Some(Flaw::KillsAgentOnly);
            if !forgets && next.kill_machine(rules) {
                return next;
            }
            if task.job == Job::Kill {
                unlock(&mut next);
                task_ends(&mut next, task.job);
            } else {
                go_to(&mut next, 3);
            }
        }
        // `lima/src/instance/delete.rs`: renamed in one step, then the lock is released with its file …
        (Job::DeleteFiles, 3) => {
            next.break_if(world.lives(), Broken::ChangedUnderLife);
            next.disk = None;
            next.remains = true;
            next.record = Named::NoProcess;
            next.socket = None;
            unlock(&mut next);
            go_to(&mut next, 4);
        }
        // … then the rest.
        (Job::Kill | Job::DeleteFiles, _) => {
            next.remains = false;
            task_ends(&mut next, task.job);
        }
    }
    next
}
