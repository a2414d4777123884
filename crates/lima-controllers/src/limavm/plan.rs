//! Deciding what is done next for one VM. Pure: no clock, no disk, no API; `actor.rs` looks and does.
//!
//! ```text
//!            files absent ──Prepare──▶ files current ──Start──▶ agent talks ──▶ up
//!                 ▲                        │    ▲                   │            │
//!                 │                 WriteTemplate│              AskToStop (Kill when overdue)
//!              DeleteFiles                 ▼    │                   ▼            │
//!                 └────────────────── nothing lives ◀─────────── stopping ◀──────┘
//! ```
//! Files are changed only while nothing lives, so the template on disk is always the one that a running VM was booted
//! with. Everything is derived from what is seen, so a daemon that starts in any of these states goes on from there.
//! Model-checked with all that it decides about: `tests/model`, `docs/lifecycle-model.md`.

/// What the owner wants, as far as deciding needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Desired {
    /// What is to become of the VM's files.
    pub fate: Fate,
    /// The VM should run.
    pub running: bool,
    /// It should be stopped once, before anything else (`status.restartNeeded`).
    pub restart: bool,
    /// There is a template that can be used.
    pub template: bool,
    /// The control plane is going: stop the VM, and begin nothing new.
    pub leaving: bool,
}

/// What is to become of a VM's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// They stay.
    Keep,
    /// They are deleted and made anew.
    Reset,
    /// They are deleted, and the VM with them.
    Delete,
}

/// What is seen of the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Its folder.
    pub files: Files,
    /// A deletion or a preparation has broken off and left something beside the folder's place.
    pub remains: bool,
    /// Its hostagent.
    pub agent: Agent,
    /// Its machine.
    pub machine: Machine,
    /// How far a stop has come.
    pub stop: Stop,
    /// What this controller is doing to it in the background.
    pub job: Option<Job>,
    /// The last try failed, and it is too early for the next.
    pub held_back: bool,
    /// The hostagent has been silent, or it could not be told whether it or the machine lives, or new ones have failed
    /// to take the machine over, for too long.
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
    /// It is not this VM's: the name is another VM's, or nobody knows whose folder it is.
    Foreign,
}

/// The hostagent of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agent {
    /// None lives.
    Absent,
    /// One lives and does not answer: it starts, or it hangs.
    Silent,
    /// It boots the VM.
    Booting,
    /// It says that the VM is up.
    Up,
    /// It is stopping the VM, or about to exit.
    Stopping,
    /// It cannot be told.
    Unknown,
}

/// The machine of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// None runs.
    Absent,
    /// One runs.
    Alive,
    /// It cannot be told.
    Unknown,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// Nobody was asked.
    NotAsked,
    /// The hostagent was asked, and has time left.
    Asked,
    /// Its time is over.
    Overdue,
}

/// Work in the background. It owns the files, so there is at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Makes the files. Can be cancelled.
    Prepare,
    /// Writes a changed template.
    WriteTemplate,
    /// Ends hostagent and machine without asking.
    Kill,
    /// Deletes the files.
    DeleteFiles,
}

/// One bounded step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// All is as it should be.
    Rest,
    /// Something is under way, or has to be waited for.
    Wait,
    /// Make the files, in the background.
    Prepare,
    /// Give up making the files.
    CancelPrepare,
    /// Write the changed template, in the background; nothing lives.
    WriteTemplate,
    /// Start a hostagent. It boots the machine, or takes over the one that runs.
    Start,
    /// Ask the hostagent to stop the machine.
    AskToStop,
    /// End the hostagent alone, which has been silent for too long; the next one takes the machine over.
    EndAgent,
    /// End hostagent and machine without asking, in the background.
    Kill,
    /// Delete the files, in the background; nothing lives.
    DeleteFiles,
    /// The VM has stopped, as a restart wants it: take `status.restartNeeded` back.
    RestartDone,
    /// The files are gone, as a reset wants it: take `status.resetNeeded` back.
    ResetDone,
    /// Nothing of the VM is left: let the object go.
    Release,
}

/// What is done next.
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
        // A deletion has succeeded when nothing is left (hazard 22), and not when it is out of sight.
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
        // A restart is done when the VM that comes up next has the changed template.
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
        // A look that failed is no reason to switch a guest off; one that fails again and again is.
        (Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) if observed.hopeless => kill,
        (Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) => Action::Wait,
        (Agent::Absent, Machine::Alive | Machine::Absent) => {
            // Without a hostagent nobody can ask the guest, and a guest whose disk stays is asked.
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

/// Whether something lives, or may live.
pub fn lives(observed: &Observed) -> bool {
    observed.agent != Agent::Absent || observed.machine != Machine::Absent
}
