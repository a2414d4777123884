//! Decides the next step for one VM. Pure: no clock, no disk, no API. `actor.rs` observes and performs the step.
//!
//! ```text
//!            files absent ──Prepare──▶ files current ──Start──▶ agent talks ──▶ up
//!                 ▲                        │    ▲                   │            │
//!                 │                 WriteTemplate│              AskToStop (Kill when overdue)
//!              DeleteFiles                 ▼    │                   ▼            │
//!                 └────────────────── nothing lives ◀─────────── stopping ◀──────┘
//! ```
//! Files are changed only while no process of the VM is alive, so the template on disk is always the one that a running
//! VM was booted with. The decision depends only on what is observed, so a daemon that starts in any of these states goes
//! on from there. `tests/model` checks it together with a model of the world; see `docs/lifecycle-model.md`.

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Desired {
    /// What is to become of the VM's files.
    pub fate: Fate,
    /// The VM should run.
    pub running: bool,
    /// It should be stopped once, before anything else (`status.restartNeeded`).
    pub restart: bool,
    /// A usable template exists.
    pub template: bool,
    /// The control plane shuts down: stop the VM, and begin nothing new.
    pub leaving: bool,
}

/// What is to become of a VM's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// They stay.
    Keep,
    /// They are deleted and created again.
    Reset,
    /// They are deleted, and the VM with them.
    Delete,
}

/// What is observed of the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Its folder.
    pub files: Files,
    /// An interrupted deletion or preparation has left files beside the folder.
    pub remains: bool,
    /// Its hostagent.
    pub agent: Agent,
    /// Its machine.
    pub machine: Machine,
    /// How far a stop has come.
    pub stop: Stop,
    /// The background job of this controller.
    pub job: Option<Job>,
    /// The last attempt failed, and the back-off is not over.
    pub held_back: bool,
    /// For too long, the hostagent has not answered, or the state of hostagent or machine was unknown, or new hostagents
    /// have failed to adopt the machine.
    pub hopeless: bool,
}

/// The folder of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Files {
    /// There is none.
    Absent,
    /// It is complete, and has the template that it should have.
    Current,
    /// It is complete, with another template than it should have.
    Outdated,
    /// It does not belong to this VM: another VM has the name, or the owner of the folder is unknown.
    Foreign,
}

/// The hostagent of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agent {
    /// None is alive.
    Absent,
    /// One is alive and does not answer: it starts, or it hangs.
    Silent,
    /// It boots the VM.
    Booting,
    /// It reports that the VM is up.
    Up,
    /// It is stopping the VM, or about to exit.
    Stopping,
    /// Its state is unknown.
    Unknown,
}

/// The machine of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// None runs.
    Absent,
    /// One runs.
    Alive,
    /// Its state is unknown.
    Unknown,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The hostagent was not asked.
    NotAsked,
    /// The hostagent was asked, and has time left.
    Asked,
    /// Its time is over.
    Overdue,
}

/// Work in the background. It owns the files, so there is at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Creates the files. Can be cancelled.
    Prepare,
    /// Writes a changed template.
    WriteTemplate,
    /// Kills hostagent and machine.
    Kill,
    /// Deletes the files.
    DeleteFiles,
}

/// One bounded step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The VM is as it should be.
    Rest,
    /// Something is in progress, or must be waited for.
    Wait,
    /// Create the files, in the background.
    Prepare,
    /// Cancel creating the files.
    CancelPrepare,
    /// Write the changed template, in the background; no process is alive.
    WriteTemplate,
    /// Start a hostagent. It boots the machine, or adopts the one that runs.
    Start,
    /// Ask the hostagent to stop the machine.
    AskToStop,
    /// Kill the hostagent alone, which has not answered for too long; the next one adopts the machine.
    EndAgent,
    /// Kill hostagent and machine, in the background.
    Kill,
    /// Delete the files, in the background; no process is alive.
    DeleteFiles,
    /// The VM has stopped for its restart: clear `status.restartNeeded`.
    RestartDone,
    /// The files are gone for the reset: clear `status.resetNeeded`.
    ResetDone,
    /// Nothing of the VM is left: remove the finalizer.
    Release,
}

/// Returns the next step.
pub fn plan(desired: &Desired, observed: &Observed) -> Action {
    if let Some(job) = observed.job {
        let useless = desired.fate != Fate::Keep || desired.leaving || !desired.template;
        return if job == Job::Prepare && useless {
            Action::CancelPrepare
        } else {
            Action::Wait
        };
    }
    match (observed.files, desired.fate) {
        (Files::Foreign, Fate::Delete) => Action::Release,
        (Files::Foreign, _) => Action::Rest,
        // A deletion has succeeded once no file is left (hazard 22), not once the folder is renamed.
        (Files::Absent, Fate::Delete | Fate::Reset) if observed.remains => {
            remove(desired, observed)
        }
        (Files::Absent, Fate::Delete) => Action::Release,
        (Files::Absent, Fate::Reset) => Action::ResetDone,
        (Files::Absent, Fate::Keep) => without_files(desired, observed),
        (Files::Current | Files::Outdated, Fate::Keep) => keep(desired, observed),
        (Files::Current | Files::Outdated, Fate::Reset | Fate::Delete) => remove(desired, observed),
    }
}

fn without_files(desired: &Desired, observed: &Observed) -> Action {
    if desired.leaving {
        Action::Rest
    } else if desired.restart {
        Action::RestartDone
    } else if !desired.template || observed.held_back {
        Action::Wait
    } else {
        Action::Prepare
    }
}

fn keep(desired: &Desired, observed: &Observed) -> Action {
    let outdated = observed.files == Files::Outdated;
    if desired.running && !desired.restart && !outdated && !desired.leaving {
        return start(observed);
    }
    if lives(observed) {
        return stop(desired, observed);
    }
    if desired.leaving {
        Action::Rest
    } else if outdated {
        // The restart is complete when the VM comes up with the changed template.
        if observed.held_back {
            Action::Wait
        } else {
            Action::WriteTemplate
        }
    } else if desired.restart {
        Action::RestartDone
    } else {
        Action::Rest
    }
}

fn remove(desired: &Desired, observed: &Observed) -> Action {
    if lives(observed) {
        stop(desired, observed)
    } else if observed.held_back {
        Action::Wait
    } else if desired.leaving && desired.fate == Fate::Reset {
        Action::Rest
    } else {
        Action::DeleteFiles
    }
}

fn start(observed: &Observed) -> Action {
    match observed.agent {
        Agent::Absent if observed.held_back => Action::Wait,
        Agent::Absent => Action::Start,
        Agent::Silent if observed.hopeless && !observed.held_back => Action::EndAgent,
        Agent::Silent | Agent::Booting | Agent::Stopping | Agent::Unknown => Action::Wait,
        Agent::Up => Action::Rest,
    }
}

fn stop(desired: &Desired, observed: &Observed) -> Action {
    let kill = if observed.held_back {
        Action::Wait
    } else {
        Action::Kill
    };
    match (observed.agent, observed.machine) {
        // One failed observation is no reason to switch a guest off; repeated failures are.
        (Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) if observed.hopeless => kill,
        (Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) => Action::Wait,
        (Agent::Absent, Machine::Alive | Machine::Absent) => {
            // A guest whose disk stays is asked to shut down, and only a hostagent can ask it.
            if observed.hopeless || desired.fate != Fate::Keep {
                kill
            } else if observed.held_back {
                Action::Wait
            } else {
                Action::Start
            }
        }
        (Agent::Silent, _) if observed.hopeless => kill,
        (Agent::Silent, _) => Action::Wait,
        (Agent::Booting | Agent::Up | Agent::Stopping, _) => match observed.stop {
            Stop::NotAsked => Action::AskToStop,
            Stop::Asked => Action::Wait,
            Stop::Overdue => kill,
        },
    }
}

/// Whether a process of the VM is alive, or may be.
pub fn lives(observed: &Observed) -> bool {
    observed.agent != Agent::Absent || observed.machine != Machine::Absent
}
