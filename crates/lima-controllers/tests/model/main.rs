//! Model checking of a VM's life: the real [`plan`] decides, a model of the world performs the steps, and all states
//! within a bound are visited. `docs/lifecycle-model.md` says what is modelled and what is not.
//!
//! | file | contents |
//! |---|---|
//! | `world` | the state: object, folder, locks, processes, memory of the daemon; what must never happen |
//! | `daemon`, `jobs` | observe, decide, act, and the background jobs. Each names the code that it models |
//! | `processes` | hostagent, QEMU and guest; when everything is as the user wants it |
//! | `steps` | all steps that can happen next: progress, faults, commands |
//! | `checker` | breadth-first search with the path to each state; fair cycles for liveness |
//! | `mutants` | plans and worlds with one defect each, all of which must be found |
//!
//! What holds in every state: the list of [`world::Broken`]. And from every state: once faults and commands stop,
//! every weakly fair run reaches what the user wants ([`processes::settled`]) and stays there.
//!
//! The bound is the number of faults and of commands on one path, in any order and between any two steps. By default
//! all paths with 1 fault and 2 commands (647,125 states, 2,441,064 steps, depth 57) and all with 2 faults and 1 command
//! (422,683 states, 1,643,587 steps, depth 55); 12 s of one core in the dev profile, and 13 s for the defects.
//! `RDD_MODEL_FAULTS=2 RDD_MODEL_COMMANDS=2` visits 5,152,371 states in 24,356,928 steps, in two minutes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and the number of visited states is its result"
)]

mod checker;
mod daemon;
mod jobs;
mod mutants;
mod processes;
mod steps;
mod world;

use checker::{Bound, check};
use lima_controllers::limavm::plan::plan;
use world::{Request, Rules, World};

/// Two VMs that were just created, one of which should run.
fn starts() -> [World; 2] {
    [true, false].map(|running| World::new(Request::new(running)))
}

/// The bound from the environment; a value that is not given is 1.
fn bounds() -> Vec<Bound> {
    let given = |name: &str| -> Option<u8> { Some(std::env::var(name).ok()?.parse().unwrap()) };
    match (given("RDD_MODEL_FAULTS"), given("RDD_MODEL_COMMANDS")) {
        (None, None) => [(1, 2), (2, 1)]
            .map(|(faults, commands)| Bound { faults, commands })
            .to_vec(),
        (faults, commands) => vec![Bound {
            faults: faults.unwrap_or(1),
            commands: commands.unwrap_or(1),
        }],
    }
}

#[test]
fn no_sequence_loses_a_vm_or_signals_another_process() {
    for bound in bounds() {
        let began = std::time::Instant::now();
        match check(&starts(), &Rules { plan, flaw: None }, bound) {
            Ok(size) => println!("{bound}: {size}, {:.1} s", began.elapsed().as_secs_f64()),
            Err(failure) => panic!("{bound}: {failure}"),
        }
    }
}
