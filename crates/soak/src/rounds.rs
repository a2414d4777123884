//! The rounds: faults, their end, the recovery, and the check of the invariants.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::Identity;
use process::command::Run;
use testutils::stub_guest::PowerButton;
use testutils::{Bystander, Instance};

use crate::Options;
use crate::dice::Dice;
use crate::enclosure;
use crate::fault::{Broken, FAULTS, Scene};
use crate::plane::{self, Object};
use crate::processes::{Processes, Role};
use crate::story::{Figures, Story, Violation};
use crate::vms::{Known, Vm};
use crate::wall_clock::{self, Jump, WallClock};

/// The bound from the end of the faults to the declared state: a hostagent that does not answer gets 20 s, a stopping guest
/// 30 s and 10 s, and the user repeats a failed start after at most [`IMPATIENCE`].
const BOUND: Duration = Duration::from_secs(120);
/// After many failures the back-off lasts minutes (hazard 19); the user starts the VM after this time instead.
const IMPATIENCE: Duration = Duration::from_secs(15);
/// How long nothing may change after the recovery. A crash loop would be seen.
const STILL: Duration = Duration::from_secs(2);
/// How long nothing may change after a jump of the wall clock: hostagents compare the clocks every five seconds.
const CLOCK_SEEN: Duration = Duration::from_secs(6);
/// How long a second process may exist: it ends when it finds the lock held.
const DOUBLE: Duration = Duration::from_secs(5);
/// The interval of polls.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The timeout of the daemon's start on a busy machine.
const START: Duration = Duration::from_secs(100);
/// The size of the small disk. VMs of stub guests, their logs and the daemon's database need a tenth of it.
const SMALL_DISK: &str = "size=192m,mode=0700";
/// The number of bystanders whose PIDs are forged into files of the instance.
const STRANGERS: usize = 3;
/// The longest burst of faults.
const BURST: usize = 7;
/// The longest pause between two faults, in milliseconds.
const PAUSE: usize = 1200;

pub(crate) fn run(options: &Options) -> Result<Figures, Violation> {
    let mut soak = Soak::new(options);
    let result = soak.all();
    soak.end(result)
}

struct Soak<'a> {
    options: &'a Options,
    instance: Instance,
    template: PathBuf,
    vms: Vec<Vm>,
    strangers: Vec<Bystander>,
    broken: Broken,
    clock: Option<WallClock>,
    dice: Dice,
    story: Story,
    figures: Figures,
    /// Roles that several processes have at the same time, and since when.
    doubles: BTreeMap<Role, (Vec<Identity>, Instant)>,
}

impl<'a> Soak<'a> {
    fn new(options: &'a Options) -> Soak<'a> {
        let mut story = Story::new(options.tell);
        let mut instance = instance(options);
        let clock = WallClock::new(&mut instance)
            .map_err(|error| story.note(format!("clock jumps are left out: {error}")))
            .ok();
        let template = instance.stub_template(PowerButton::Obeyed);
        // Below the instance's folders, so that a killed soak leaves nothing.
        let strangers = (0..STRANGERS).map(|_| Bystander::within(instance.scratch()));
        let strangers = strangers.collect();
        Soak {
            options,
            instance,
            template,
            vms: (0..options.vms.max(1)).map(Vm::new).collect(),
            strangers,
            broken: Broken::default(),
            clock,
            dice: Dice::new(options.seed),
            story,
            figures: Figures::default(),
            doubles: BTreeMap::new(),
        }
    }

    fn all(&mut self) -> Result<(), String> {
        let Options { vms, seed, .. } = self.options;
        self.story.note(format!("{vms} VMs, seed {seed}"));
        if self.options.small_disk {
            self.mount("mount", &["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"])?;
        }
        self.round_without_faults()?;
        while self.story.elapsed() < self.options.duration
            && self.figures.count() < self.options.faults
        {
            self.burst()?;
            self.round_without_faults()?;
        }
        self.clock_jumps_alone()?;
        self.svc(&["svc", "stop", "--wait"])?;
        let left = Processes::of(&self.instance).besides(&[]);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("orphans after `svc stop`: {left:?}"))
        }
    }

    fn mount(&self, program: &str, args: &[&str]) -> Result<(), String> {
        Run::new(program, START)
            .args(args)
            .arg(self.instance.home())
            .run()
            .map(drop)
            .map_err(|error| format!("{error}; run it where it may mount, or without a small disk"))
    }

    /// Causes random faults in quick succession.
    fn burst(&mut self) -> Result<(), String> {
        self.figures.rounds += 1;
        let count = 1 + self.dice.below(BURST);
        self.story
            .note(format!("round {}: {count} faults", self.figures.rounds));
        for _ in 0..count {
            let Some(fault) = self.dice.weighted(FAULTS) else {
                continue;
            };
            let mut scene = Scene {
                instance: &self.instance,
                template: &self.template,
                vms: &mut self.vms,
                strangers: &self.strangers,
                broken: &mut self.broken,
                dice: &mut self.dice,
                small_disk: self.options.small_disk,
                clock: self.clock.as_ref(),
            };
            if let Some(what) = scene.happen(fault) {
                self.story.note(what);
                *self.figures.faults.entry(fault.name()).or_default() += 1;
            }
            self.no_doubles(&Processes::of(&self.instance))?;
            let pause = self.dice.below(PAUSE);
            // Usually a fault meets the consequences of the one before; sometimes both come at the same time.
            if self.dice.chance(70) {
                std::thread::park_timeout(Duration::from_millis(pause as u64));
            }
        }
        Ok(())
    }

    /// Ends the faults and waits until everything is in its declared state.
    fn round_without_faults(&mut self) -> Result<(), String> {
        for repaired in self.broken.repair(&self.instance) {
            self.story.note(repaired);
        }
        let began = Instant::now();
        let objects = self.daemon_answers()?;
        for vm in &mut self.vms {
            vm.settle(objects.get(&vm.name))?;
        }
        self.create_missing(&objects)?;
        self.converge(began)?;
        self.stand_still()?;
        self.strangers_live()
    }

    fn svc(&self, args: &[&str]) -> Result<(), String> {
        let output = self
            .instance
            .command(args, START)
            .run_any()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("rdd {} failed: {stderr}", args.join(" ")))
    }

    /// Starts the daemon unless it runs. A daemon that was frozen can still receive a request to stop, and then ends.
    fn daemon_answers(&self) -> Result<BTreeMap<String, Object>, String> {
        let mut objects = BTreeMap::new();
        until(BOUND, "the daemon to answer", || {
            self.svc(&["svc", "start"])?;
            objects = plane::read(&self.instance)?;
            Ok(())
        })?;
        Ok(objects)
    }

    fn create_missing(&mut self, objects: &BTreeMap<String, Object>) -> Result<(), String> {
        let template = self.template.to_string_lossy().into_owned();
        for vm in &mut self.vms {
            if vm.exists == Known::Sure(true) {
                continue;
            }
            if objects.contains_key(&vm.name) {
                // An interrupted deletion continues by itself.
                let name = vm.name.clone();
                until(BOUND, &format!("the end of {name}"), || {
                    let objects = plane::read(&self.instance)?;
                    if objects.contains_key(&name) {
                        return Err("its object is there".into());
                    }
                    Ok(())
                })?;
            }
            let args = [
                "limavm",
                "create",
                &vm.name,
                &template,
                "--start",
                "--wait=false",
            ];
            let created = self.instance.command(&args, START).run_any();
            let created = created.map_err(|error| error.to_string())?;
            if !created.status.success() {
                let stderr = String::from_utf8_lossy(&created.stderr).into_owned();
                return Err(format!("{} cannot be created: {stderr}", vm.name));
            }
            (vm.exists, vm.running) = (Known::Sure(true), Known::Sure(true));
        }
        Ok(())
    }

    fn converge(&mut self, began: Instant) -> Result<(), String> {
        let mut asked = false;
        loop {
            let processes = Processes::of(&self.instance);
            self.no_doubles(&processes)?;
            let unmet = match plane::read(&self.instance) {
                Ok(objects) => self.unmet(&objects, &processes),
                Err(error) => vec![error],
            };
            let took = began.elapsed();
            if unmet.is_empty() {
                self.story
                    .note(format!("all well after {:.1} s", took.as_secs_f64()));
                self.figures.converged.push(took);
                break;
            }
            if took > BOUND {
                let seconds = BOUND.as_secs();
                return Err(format!(
                    "not converged after {seconds} s: {}",
                    unmet.join("; ")
                ));
            }
            if took > IMPATIENCE && !std::mem::replace(&mut asked, true) {
                self.ask_again()?;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
        for vm in &mut self.vms {
            let folder = self.instance.lima_home().join(&vm.name);
            vm.same_disk(&folder)?;
        }
        Ok(())
    }

    /// The differences from the declared state.
    fn unmet(&self, objects: &BTreeMap<String, Object>, processes: &Processes) -> Vec<String> {
        let mut unmet = Vec::new();
        let mut expected = vec![Role::Daemon];
        for vm in &self.vms {
            let folder = self.instance.lima_home().join(&vm.name);
            unmet.extend(vm.unmet(objects.get(&vm.name), &folder));
            if vm.should_run() {
                expected.push(Role::Hostagent(vm.name.clone()));
                expected.push(Role::Qemu(vm.name.clone()));
            }
        }
        for role in &expected {
            if processes.count(role) != 1 {
                unmet.push(format!("{role} is there {} times", processes.count(role)));
            }
        }
        let strangers = processes.besides(&expected);
        if !strangers.is_empty() {
            unmet.push(format!("too many: {strangers:?}"));
        }
        for name in objects.keys() {
            if !self.vms.iter().any(|vm| vm.name == *name) {
                unmet.push(format!("no user created {name}"));
            }
        }
        unmet
    }

    /// Starts VMs again whose back-off has become too long, as a user would.
    fn ask_again(&mut self) -> Result<(), String> {
        let objects = plane::read(&self.instance)?;
        for vm in self.vms.iter().filter(|vm| vm.should_run()) {
            let failed = objects
                .get(&vm.name)
                .is_some_and(|object| object.condition == "False/StartFailed");
            if failed {
                self.figures.asked_again += 1;
                self.story.note(format!("user: start {} again", vm.name));
                let args = ["limavm", "start", &vm.name, "--wait=false"];
                // If it fails, the bound is exceeded.
                let _ = self.instance.command(&args, START).run_any();
            }
        }
        Ok(())
    }

    /// Checks that no process ends or starts without a cause.
    fn stand_still(&mut self) -> Result<(), String> {
        self.nothing_changes(STILL, |_| Ok(()))
    }

    /// Checks that no process ends or starts when the wall clock jumps, and that the API answers.
    fn clock_jumps_alone(&mut self) -> Result<(), String> {
        if self.clock.is_none() {
            return Ok(());
        }
        for jump in [Jump::To1970, wall_clock::AHEAD, Jump::Right] {
            self.nothing_changes(CLOCK_SEEN, |soak| {
                let clock = soak.clock.as_ref();
                let what = clock.and_then(|clock| clock.jump(jump));
                soak.story.note(what.ok_or("the clock cannot be moved")?);
                Ok(())
            })?;
            self.svc(&["limavm", "list"])?;
            self.daemon_goes_by_the_clock()?;
        }
        let objects = plane::read(&self.instance)?;
        let unmet = self.unmet(&objects, &Processes::of(&self.instance));
        if unmet.is_empty() {
            Ok(())
        } else {
            Err(format!("after the clock jumped: {}", unmet.join("; ")))
        }
    }

    /// Checks that new objects have the date of the moved clock; otherwise the jumps would prove nothing.
    fn daemon_goes_by_the_clock(&self) -> Result<(), String> {
        let kubectl = |args: &[&str]| {
            let run = self
                .instance
                .run("kubectl", START)
                .arg("--kubeconfig")
                .arg(self.instance.kubeconfig())
                .args(args)
                .run();
            run.map(|output| output.text())
                .map_err(|error| error.to_string())
        };
        let days = [wall_clock::today(&self.instance)?];
        let made = kubectl(&[
            "create",
            "configmap",
            "today",
            "-o",
            "jsonpath={.metadata.creationTimestamp}",
        ])?;
        kubectl(&["delete", "configmap", "today"])?;
        // Midnight may have passed in between.
        if days
            .into_iter()
            .chain([wall_clock::today(&self.instance)?])
            .any(|day| made.starts_with(&day))
        {
            Ok(())
        } else {
            Err(format!("the daemon's clock did not jump: it says {made}"))
        }
    }

    /// Checks that after `done` and this time the same processes run as before.
    fn nothing_changes(
        &mut self,
        time: Duration,
        done: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let look = |soak: &Self| {
            let objects = plane::read(&soak.instance)?;
            let count = |(name, object): (String, Object)| (name, object.restart_count);
            let counts: BTreeMap<_, _> = objects.into_iter().map(count).collect();
            Ok::<_, String>((Processes::of(&soak.instance).identities(), counts))
        };
        let before = look(self)?;
        done(self)?;
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let after = look(self)?;
        if before == after {
            Ok(())
        } else {
            Err(format!(
                "it does not stand still: {before:?}, then {after:?}"
            ))
        }
    }

    fn strangers_live(&self) -> Result<(), String> {
        for stranger in &self.strangers {
            let look = AssertUnwindSafe(|| stranger.assert_untouched());
            catch_unwind(look)
                .map_err(|_| format!("the stranger {} was signalled", stranger.identity().pid()))?;
        }
        Ok(())
    }

    /// Reports two hostagents or machines of one VM, or two daemons, that exist for longer than a second process needs to end.
    fn no_doubles(&mut self, processes: &Processes) -> Result<(), String> {
        let now = Instant::now();
        let mut seen = BTreeMap::new();
        for (role, identities) in processes.doubles() {
            let since = match self.doubles.remove(&role) {
                Some((before, since)) if before == identities => since,
                _ => now,
            };
            if now.duration_since(since) > DOUBLE {
                return Err(format!("{role} is there twice: {identities:?}"));
            }
            seen.insert(role, (identities, since));
        }
        self.doubles = seen;
        Ok(())
    }

    fn end(mut self, result: Result<(), String>) -> Result<Figures, Violation> {
        self.broken.repair(&self.instance);
        let result = result.map_err(|what| {
            let kept = self
                .options
                .kept
                .join(format!("seed-{}", self.options.seed));
            if let Err(error) = keep_logs(&self.instance, &kept) {
                self.story
                    .note(format!("the logs could not be kept: {error}"));
            }
            self.story.violated(what, kept)
        });
        let Soak {
            instance,
            figures,
            options,
            ..
        } = self;
        if options.small_disk {
            // No process may use it when it is removed; problems were reported above.
            let _ = instance
                .command(&["svc", "delete", "--timeout=90s"], START)
                .run_any();
            let _ = Run::new("umount", START)
                .arg("-l")
                .arg(instance.home())
                .run();
        }
        match catch_unwind(AssertUnwindSafe(|| drop(instance))) {
            Err(_) if result.is_ok() => Err(Violation {
                what: "processes were left behind".into(),
                story: String::new(),
                kept: options.kept.clone(),
            }),
            _ => result.map(|()| figures),
        }
    }
}

/// An instance whose files disappear with the namespace, if this process is in an enclosure.
fn instance(options: &Options) -> Instance {
    let program = std::env::current_exe().unwrap_or_default();
    let cache = testutils::cache_dir();
    let needed = [&options.binary, &options.kept, &program, &cache];
    let folder = options
        .small_disk
        .then(|| enclosure::private_folder(&needed.map(PathBuf::as_path)));
    match folder.flatten() {
        Some(folder) => Instance::within(&options.binary, folder, "h"),
        None => Instance::new(&options.binary),
    }
}

/// Polls until the result is `Ok`, at most for `limit`.
fn until(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(seen) if Instant::now() >= deadline => {
                return Err(format!("waited {limit:?} in vain for {what}: {seen}"));
            }
            Err(_) => std::thread::park_timeout(LOOK_AGAIN),
        }
    }
}

/// Copies the logs and small state files of an instance.
fn keep_logs(instance: &Instance, kept: &Path) -> std::io::Result<()> {
    /// The most bytes of a log that are copied; longer ones repeat the same lines.
    const LONGEST: u64 = 16 << 20;
    let _ = fs::remove_dir_all(kept);
    let mut folders = vec![(instance.log_dir(), kept.join("daemon"))];
    for entry in fs::read_dir(instance.lima_home()).into_iter().flatten() {
        let entry = entry?;
        folders.push((entry.path(), kept.join(entry.file_name())));
    }
    for (from, to) in folders {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from).into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let wanted =
                text.contains(".log") || text.ends_with(".json") || text.ends_with(".yaml");
            if wanted && entry.metadata()?.len() < LONGEST {
                fs::copy(entry.path(), to.join(&name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn faults_have_distinct_names_and_positive_weights() {
        let names: std::collections::BTreeSet<_> =
            FAULTS.iter().map(|(fault, _)| fault.name()).collect();
        assert_eq!(names.len(), FAULTS.len());
        assert!(FAULTS.iter().all(|(_, weight)| *weight > 0));
        assert!(FAULTS.iter().any(|(fault, _)| *fault == Fault::FillDisk));
    }
}
