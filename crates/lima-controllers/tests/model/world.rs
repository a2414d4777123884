//! The world of one VM as the model knows it: the object, the folder, the lock, the processes, what the daemon
//! remembers. Time is not counted: a deadline is a step that may come at any moment and comes at last.

use lima_controllers::limavm::plan::{Action, Desired, Job, Observed};

/// All that is. Small and plain, as there are millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The object in the API server; `None` when it is gone.
    pub(crate) object: Option<Wish>,
    /// The object as the daemon's watch has shown it last.
    pub(crate) seen: Option<Wish>,
    /// The VM's folder.
    pub(crate) disk: Option<Disk>,
    /// `.NAME.tmp`: what a preparation or a deletion that broke off has left.
    pub(crate) remains: bool,
    /// `ha.lock`.
    pub(crate) lock: Lock,
    /// Whom the text in `ha.lock` names.
    pub(crate) text: Named,
    /// Hostagents that were started and have not come to the lock yet.
    pub(crate) waiting: u8,
    /// The hostagent that holds the lock.
    pub(crate) agent: Option<Agent>,
    pub(crate) qemus: [Option<Qemu>; 2],
    /// Whom `qemu.json` names.
    pub(crate) record: Named,
    /// Who listens on `qmp.sock` or its second name (`driver/src/qemu/spare.rs`).
    pub(crate) socket: Option<u8>,
    pub(crate) daemon: Daemon,
    /// What should never have happened, and has.
    pub(crate) broken: Option<Broken>,
}

/// What the owner wants, as it stands in the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    pub(crate) running: bool,
    pub(crate) restart: bool,
    pub(crate) reset: bool,
    pub(crate) deleting: bool,
    /// Which of two templates.
    pub(crate) template: bool,
    /// Changes with a request for what is requested already: another version of the object, for who writes.
    pub(crate) again: bool,
}

/// An instance folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// The template in `lima.yaml`.
    pub(crate) yaml: bool,
    /// The template that the mark beside it says.
    pub(crate) mark: Option<bool>,
    /// A reset was asked for since it was made.
    pub(crate) doomed: bool,
}

/// Who holds `ha.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    Free,
    Agent,
    /// The daemon's job, as a proof that no hostagent lives.
    Job,
}

/// A process that a file names. A number alone is never more than `Stale`: it may be a stranger's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    Nobody,
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
    /// A request to stop has reached it.
    pub(crate) asked: bool,
    /// The QEMU that it started or took over.
    pub(crate) qemu: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Health {
    Well,
    /// It answers on `ha.sock` and takes requests, and does nothing any more.
    Deaf,
    /// It does nothing any more, and answers nobody.
    Hung,
}

/// How far a hostagent is (`hostagent/src/supervisor.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// It holds the lock, and its text does not name it yet.
    Locked,
    /// It is named, and does not listen on `ha.sock` yet.
    Named,
    Preparing,
    /// It has seen a machine.
    Adopting,
    /// It has seen none.
    Launching,
    /// QEMU is started, and `qemu.json` does not name it yet.
    Unrecorded,
    /// For QEMU's first answer.
    Waiting,
    Watching,
    Stopping,
    /// It was asked to stop before it had a machine: it makes sure that there is none.
    Destroying,
    Exiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Qemu {
    pub(crate) stage: Stage,
    pub(crate) hung: bool,
    /// Started by the hostagent that lives, so it goes with that one's process tree.
    pub(crate) child: bool,
    /// The template that it was started with.
    pub(crate) template: bool,
    /// A restart was asked for since it was started.
    pub(crate) doomed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Started.
    Loading,
    /// Listens on its control socket, has not opened its disk.
    Listening,
    /// Has its disk, and the lock on it.
    Booting,
    Up,
}

/// The daemon, and what the VM's actor remembers (`memory.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Daemon {
    pub(crate) mode: Mode,
    pub(crate) asked: Asked,
    pub(crate) clock: Clock,
    pub(crate) lived: bool,
    pub(crate) started: Started,
    pub(crate) silent: Silent,
    /// Failed starts in a row; three are as good as more.
    pub(crate) failures: u8,
    pub(crate) starts_held: bool,
    pub(crate) work_held: bool,
    pub(crate) task: Option<Task>,
    /// Decided by what was seen, and not done yet.
    pub(crate) pending: Option<Action>,
    /// The watch has shown another version since; it is taken in by the next look.
    pub(crate) news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Down,
    Up,
    /// Stops the VMs, then ends.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    No,
    Yes,
    /// With a longer grace period than there is now.
    Longer,
}

/// The guest's time for a stop (`stopping.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Clock {
    /// No stop is wanted.
    Off,
    Runs,
    /// It is over.
    Overdue,
}

/// The hostagent that this daemon has started last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Started {
    No,
    /// It lives and has not come to the lock.
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

/// A job in the background, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) job: Job,
    pub(crate) step: u8,
    /// What it writes was decided when it started.
    pub(crate) template: bool,
    pub(crate) cancelled: bool,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// Two QEMUs of one VM live.
    TwoMachines,
    /// Two hostagents act for one VM, or a second one was started while one was seen.
    TwoAgents,
    /// Two jobs work on the files of one VM.
    TwoJobs,
    /// A signal went to a process that was not proved ours.
    StrangerSignalled,
    /// A signal went to the daemon.
    DaemonSignalled,
    /// Files were changed or deleted while something lived.
    ChangedUnderLife,
    /// The object went while something of the VM was left.
    ReleasedTooEarly,
    /// A guest that could have been asked to stop was to be killed.
    KilledUnasked,
    /// A guest that was to run was to be killed.
    KilledThoughWanted,
    /// A guest that was to run, and had its template, was to be stopped.
    StoppedThoughWanted,
    /// A guest was to be started that was not to run, or not with this template: one more restart than was asked for.
    StartedUnwanted,
    /// The control plane goes, and something was begun that is the next one's.
    BegunWhileLeaving,
    /// Somebody waited who had to end something at once.
    Dawdled,
    /// The daemon stopped its VMs and left one.
    LeftBehind,
    /// A request to restart or to reset was taken for done, and was not, or a template is still to be written.
    RequestLost,
}

/// What can be done wrong. The model runs with none of it; each of `mutants.rs` turns one thing on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) plan: fn(&Desired, &Observed) -> Action,
    pub(crate) flaw: Option<Flaw>,
}

/// Mistakes of those who carry the plan out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A number in a file is signalled as it stands.
    TrustsNumbers,
    /// A hostagent goes on without the lock.
    IgnoresLock,
    /// Files are deleted because nothing was seen alive, without the proof.
    DeletesUnproved,
    /// A template is written with the lock, and the machine is not looked for.
    WritesUnproved,
    /// The mark of the old template stays while the new one is written.
    KeepsMark,
    /// QEMU holds no lock: it is known by its socket, or by a record that names it after it was started.
    FindsByRecord,
    /// A failed deletion leaves its remains to the next start.
    ForgetsRemains,
    /// A kill ends the hostagent and not its machine.
    KillsAgentOnly,
    /// A hostagent that was asked to stop and left its machine behind is no failure.
    ForgivesTheAsked,
}

impl Wish {
    pub(crate) fn new(running: bool) -> Wish {
        Wish {
            running,
            restart: false,
            reset: false,
            deleting: false,
            template: false,
            again: false,
        }
    }

    /// The VM is to be up, and nothing else has to be done first.
    pub(crate) fn wants_up(&self) -> bool {
        self.running && !self.restart && !self.reset && !self.deleting
    }
}

impl Daemon {
    /// One that has just started remembers nothing.
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
    pub(crate) fn new(wish: Wish) -> World {
        World {
            object: Some(wish),
            seen: Some(wish),
            disk: None,
            remains: false,
            lock: Lock::Free,
            text: Named::Nobody,
            waiting: 0,
            agent: None,
            qemus: [None, None],
            record: Named::Nobody,
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

    /// A QEMU is gone: the kernel closes its socket, and who is named is a number.
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

    /// The hostagent that holds the lock is gone, and the kernel gives the lock back.
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

    /// SIGKILL to the QEMU that is found (`driver/src/qemu/mod.rs: destroy`); true when there was one.
    pub(crate) fn kill_machine(&mut self, rules: &Rules) -> bool {
        match self.machine(rules) {
            Some(number) => {
                self.qemu_ends(number);
                true
            }
            None => {
                let number_is_somebodys = self.record == Named::Stale;
                self.break_if(
                    number_is_somebodys && rules.flaw == Some(Flaw::TrustsNumbers),
                    Broken::StrangerSignalled,
                );
                false
            }
        }
    }

    /// SIGKILL to whom the text of a lock that is held names, if that is proved; true when somebody was.
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
            Named::Nobody | Named::Qemu(_) => false,
        }
    }
}
