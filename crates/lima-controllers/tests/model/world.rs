//! The world of one VM in the model: the object, the folder, the lock, the processes, and the daemon's memory. Time is not
//! counted: a deadline is a step that can come at any moment, and comes at last.

use lima_controllers::limavm::plan::{Action, Desired, Job, Observed};

/// The state of the world. It is small, because the checker keeps millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The object in the API server; `None` when it is gone.
    pub(crate) object: Option<Request>,
    /// The object as the daemon's watch reported it last.
    pub(crate) seen: Option<Request>,
    /// The VM's folder.
    pub(crate) disk: Option<Disk>,
    /// `.NAME.tmp`: what an interrupted preparation or deletion has left.
    pub(crate) remains: bool,
    /// `ha.lock`.
    pub(crate) lock: Lock,
    /// The process that the text in `ha.lock` names.
    pub(crate) text: Named,
    /// Hostagents that were started and have not tried to take the lock yet.
    pub(crate) waiting: u8,
    /// The hostagent that holds the lock.
    pub(crate) agent: Option<Agent>,
    pub(crate) qemus: [Option<Qemu>; 2],
    /// The process that `qemu.json` names.
    pub(crate) record: Named,
    /// The QEMU that listens on `qmp.sock` or its second name (`driver/src/qemu/spare.rs`).
    pub(crate) socket: Option<u8>,
    pub(crate) daemon: Daemon,
    /// The first invariant that was violated.
    pub(crate) broken: Option<Broken>,
}

/// What the user wants, as the API server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) running: bool,
    pub(crate) restart: bool,
    pub(crate) reset: bool,
    pub(crate) deleting: bool,
    /// Which of two templates.
    pub(crate) template: bool,
    /// Changes when the user requests again what is requested already: another version of the object.
    pub(crate) again: bool,
}

/// An instance folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// The template in `lima.yaml`.
    pub(crate) yaml: bool,
    /// The template of the mark beside it.
    pub(crate) mark: Option<bool>,
    /// A reset was requested since it was created.
    pub(crate) doomed: bool,
}

/// The holder of `ha.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    Free,
    Agent,
    /// The daemon's job, as a proof that no hostagent is alive.
    Job,
}

/// A process that a file names. A PID of a process that is gone is `Stale`: another process may have it by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    NoProcess,
    /// One that is gone.
    Stale,
    Agent,
    Daemon,
    Qemu(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    pub(crate) phase: Phase,
    pub(crate) health: Health,
    /// It has received a request to stop.
    pub(crate) asked: bool,
    /// The QEMU that it started or adopted.
    pub(crate) qemu: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Health {
    Well,
    /// It answers on `ha.sock` and accepts requests, and does nothing else.
    Deaf,
    /// It does nothing, and answers no request.
    Hung,
}

/// The phase of a hostagent (`hostagent/src/supervisor.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// It holds the lock, and the lock's text does not name it yet.
    Locked,
    /// The lock names it, and it does not listen on `ha.sock` yet.
    Named,
    Preparing,
    /// It has found a machine.
    Adopting,
    /// It has found none.
    Launching,
    /// QEMU is started, and `qemu.json` does not name it yet.
    Unrecorded,
    /// It waits for QEMU's first answer.
    Waiting,
    Watching,
    Stopping,
    /// It was asked to stop before it had a machine, and makes sure that there is none.
    Destroying,
    Exiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Qemu {
    pub(crate) stage: Stage,
    pub(crate) hung: bool,
    /// The hostagent that is alive started it, so it belongs to that process tree.
    pub(crate) child: bool,
    /// The template that it was started with.
    pub(crate) template: bool,
    /// A restart was requested since it was started.
    pub(crate) doomed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Started.
    Loading,
    /// It listens on its control socket and has not opened its disk.
    Listening,
    /// It has opened its disk and holds the lock on it.
    Booting,
    Up,
}

/// The daemon, and the memory of the VM's actor (`run.rs`, `work.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Daemon {
    pub(crate) mode: Mode,
    pub(crate) asked: Asked,
    pub(crate) clock: Clock,
    pub(crate) lived: bool,
    pub(crate) started: Started,
    pub(crate) silent: Silent,
    /// Failed starts in a row, up to three.
    pub(crate) failures: u8,
    pub(crate) starts_held: bool,
    pub(crate) work_held: bool,
    pub(crate) task: Option<Task>,
    /// Decided from an observation, and not performed yet.
    pub(crate) pending: Option<Action>,
    /// The watch has reported another version since; the next look takes it in.
    pub(crate) news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Down,
    Up,
    /// It stops the VMs, then ends.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    No,
    Yes,
    /// With a longer grace period than the current one.
    Longer,
}

/// The guest's time for a stop (`stopping.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Clock {
    /// No stop is wanted.
    Off,
    Runs,
    /// It has run out.
    Overdue,
}

/// The hostagent that this daemon started last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Started {
    No,
    /// It is alive and has not tried to take the lock.
    Waiting,
    /// It has the lock, or has ended.
    Past,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Silent {
    No,
    Yes,
    TooLong,
}

/// A background job, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) job: Job,
    pub(crate) step: u8,
    /// The template that it writes; decided when it started.
    pub(crate) template: bool,
    pub(crate) cancelled: bool,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// Two QEMUs of one VM are alive.
    TwoMachines,
    /// Two hostagents act for one VM, or a second one was started while one was observed.
    TwoAgents,
    /// Two jobs work on the files of one VM.
    TwoJobs,
    /// A signal was sent to a process that was not proved to be the VM's.
    StrangerSignalled,
    /// A signal was sent to the daemon.
    DaemonSignalled,
    /// Files were changed or deleted while a process of the VM was alive.
    ChangedUnderLife,
    /// The object was released while something of the VM was left.
    ReleasedTooEarly,
    /// A guest that could have been asked to stop was to be killed.
    KilledUnasked,
    /// A guest that was to run was to be killed.
    KilledThoughWanted,
    /// A guest that was to run, and had its template, was to be stopped.
    StoppedThoughWanted,
    /// A guest was to be started that was not to run, or not with this template: one more restart than was asked for.
    StartedUnwanted,
    /// Something was begun during the shutdown that the next control plane should do.
    BegunWhileLeaving,
    /// A step that must act at once waited.
    Dawdled,
    /// The daemon stopped its VMs and left one.
    LeftBehind,
    /// A restart or reset was recorded as complete and was not, or a template was not written yet.
    RequestLost,
}

/// The plan, and a defect. The model runs without one; each mutant in `mutants.rs` has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) plan: fn(&Desired, &Observed) -> Action,
    pub(crate) flaw: Option<Flaw>,
}

/// Defects of the code that performs the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A PID in a file is signalled without a check.
    TrustsNumbers,
    /// A hostagent goes on without the lock.
    IgnoresLock,
    /// Files are deleted because no process was observed, without a proof.
    DeletesUnproved,
    /// A template is written under the lock, without looking for the machine.
    WritesUnproved,
    /// The mark of the old template stays while the new one is written.
    KeepsMark,
    /// QEMU holds no lock: it is found by its socket, or by a record that is written after its start.
    FindsByRecord,
    /// The remains of a failed deletion are not deleted.
    ForgetsRemains,
    /// A kill ends the hostagent and not its machine.
    KillsAgentOnly,
    /// A hostagent that was asked to stop and left its machine behind is no failure.
    ForgivesTheAsked,
}

impl Request {
    pub(crate) fn new(running: bool) -> Request {
        Request {
            running,
            restart: false,
            reset: false,
            deleting: false,
            template: false,
            again: false,
        }
    }

    /// The VM should be up, and nothing has to be done first.
    pub(crate) fn wants_up(&self) -> bool {
        self.running && !self.restart && !self.reset && !self.deleting
    }
}

impl Daemon {
    /// A daemon that has just started, without any memory.
    pub(crate) fn fresh(mode: Mode) -> Daemon {
        Daemon {
            mode,
            asked: Asked::No,
            clock: Clock::Off,
            lived: false,
            started: Started::No,
            silent: Silent::No,
            failures: 0,
            starts_held: false,
            work_held: false,
            task: None,
            pending: None,
            news: false,
        }
    }
}

impl World {
    /// An object that was just created.
    pub(crate) fn new(request: Request) -> World {
        World {
            object: Some(request),
            seen: Some(request),
            disk: None,
            remains: false,
            lock: Lock::Free,
            text: Named::NoProcess,
            waiting: 0,
            agent: None,
            qemus: [None, None],
            record: Named::NoProcess,
            socket: None,
            daemon: Daemon::fresh(Mode::Up),
            broken: None,
        }
    }

    pub(crate) fn break_if(&mut self, broken: bool, what: Broken) {
        if broken && self.broken.is_none() {
            self.broken = Some(what);
        }
    }

    /// A hostagent that holds its lock, or a QEMU.
    pub(crate) fn lives(&self) -> bool {
        self.agent.is_some() || self.qemus.iter().any(Option::is_some)
    }

    /// What the driver finds (`driver/src/qemu/owner.rs: of`): the process that holds `qemu.lock`, which each QEMU does
    /// from its fork to its end.
    pub(crate) fn machine(&self, rules: &Rules) -> Option<u8> {
        if rules.flaw == Some(Flaw::FindsByRecord) {
            return match (self.socket, self.record) {
                (Some(qemu), _) | (None, Named::Qemu(qemu)) => Some(qemu),
                _ => None,
            };
        }
        (0..2).find(|number| self.qemu(*number).is_some())
    }

    pub(crate) fn qemu(&self, number: u8) -> Option<&Qemu> {
        self.qemus[usize::from(number)].as_ref()
    }

    /// A QEMU is gone: the kernel closes its socket, and files that name it are stale.
    pub(crate) fn qemu_ends(&mut self, number: u8) {
        self.qemus[usize::from(number)] = None;
        if self.socket == Some(number) {
            self.socket = None;
        }
        if self.record == Named::Qemu(number) {
            self.record = Named::Stale;
        }
        if let Some(agent) = &mut self.agent
            && agent.qemu == Some(number)
        {
            agent.qemu = None;
        }
    }

    /// The hostagent that holds the lock is gone, and the kernel releases the lock.
    pub(crate) fn agent_ends(&mut self) {
        self.agent = None;
        self.lock = Lock::Free;
        if self.text == Named::Agent {
            self.text = Named::Stale;
        }
        for qemu in self.qemus.iter_mut().flatten() {
            qemu.child = false;
        }
    }

    /// Kills the QEMU that is found (`driver/src/qemu/mod.rs: destroy`); true when there was one.
    pub(crate) fn kill_machine(&mut self, rules: &Rules) -> bool {
        match self.machine(rules) {
            Some(number) => {
                self.qemu_ends(number);
                true
            }
            None => {
                let pid_is_reused = self.record == Named::Stale;
                self.break_if(
                    pid_is_reused && rules.flaw == Some(Flaw::TrustsNumbers),
                    Broken::StrangerSignalled,
                );
                false
            }
        }
    }

    /// Kills the process that the text of a held lock names, if its identity is proved; true when there was one.
    pub(crate) fn kill_holder(&mut self, with_tree: bool, rules: &Rules) -> bool {
        match self.text {
            Named::Agent => {
                if with_tree {
                    for number in 0..2 {
                        if self.qemu(number).is_some_and(|qemu| qemu.child) {
                            self.qemu_ends(number);
                        }
                    }
                }
                self.agent_ends();
                true
            }
            Named::Daemon => {
                self.break_if(true, Broken::DaemonSignalled);
                false
            }
            Named::Stale => {
                self.break_if(
                    rules.flaw == Some(Flaw::TrustsNumbers),
                    Broken::StrangerSignalled,
                );
                false
            }
            Named::NoProcess | Named::Qemu(_) => false,
        }
    }
}
