//! Getting to a running VM: take over the one that runs, or write its files and start it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{Decided, Driver, DriverError, Machine, MachineFiles, MachineSpec, MachineState};
use lima::instance::Instance;
use lima::ssh_config::Settings;

use crate::report::Report;
use crate::ssh_probe::SshProbe;
use crate::status::{Phase, StageName};
use crate::{Options, RunError, ssh_port};

/// Tries for a port that somebody takes between our choice and QEMU's bind.
const PORT_TRIES: usize = 3;

/// Between two attempts to take over a VM that does not answer; each attempt takes seconds by itself.
const ADOPT_AGAIN: Duration = Duration::from_secs(1);

/// A VM that runs, and how to log in to it.
pub(crate) struct Prepared {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) probe: SshProbe,
    /// A stop that came while it was being prepared: since when, and the grace period.
    pub(crate) stop: Option<(Instant, Duration)>,
}

impl Prepared {
    /// A VM that this hostagent started or took over; says so.
    pub(crate) fn new(
        options: &Options,
        machine: Arc<dyn Machine>,
        adopted: bool,
        report: &Report,
    ) -> Prepared {
        let record = machine.record().clone();
        let reason = if adopted {
            "took over the VM that was running"
        } else {
            "the VM was started"
        };
        if adopted {
            report.end_stage();
        } else {
            report.begin(StageName::Booting);
        }
        report.update(Some(reason), |info| {
            // One that was running may be up already: the supervisor says so in a moment.
            if !adopted {
                info.phase = Phase::Booting;
            }
            info.ssh_local_port = record.ssh_local_port;
            info.qemu = Some(machine.identity().clone());
            info.adopted = adopted;
            info.accelerator = Some(record.accelerator);
            info.accelerator_warning = record.accelerator_warning;
            info.started_at = Some(record.started_at);
            info.boot_count = 1;
        });
        let probe = SshProbe {
            config: options.dir.ssh_config(),
            host: host(options),
            search_path: options.search_path.clone(),
        };
        Prepared {
            machine,
            probe,
            stop: None,
        }
    }
}

/// Gets to a running VM. Cancelling it may leave one that is just starting; [`Driver::destroy`] finds it.
pub(crate) async fn prepare(
    options: &Options,
    driver: &dyn Driver,
    files: &MachineFiles,
    report: &Report,
) -> Result<Prepared, RunError> {
    if driver.observe(files).await != MachineState::Absent {
        // Said before it is tried, so that a stop in between asks the guest.
        report.update(None, |info| info.adopted = true);
        report.begin(StageName::Adopting);
        if let Some(machine) = adopted(driver, files, report).await {
            process::crash::point("hostagent.after-adoption");
            if !options.dir.ssh_config().exists() {
                let port = machine.record().ssh_local_port;
                in_background(options, move |options| {
                    write_ssh_config(options, &load(options)?, port)
                })
                .await?;
            }
            return Ok(Prepared::new(options, machine, true, report));
        }
        // It ended in between.
        report.update(None, |info| info.adopted = false);
        report.begin(StageName::Preparing);
    }
    start(options, driver, files, report).await
}

/// Takes over the VM that runs; `None` when it ended. One that does not answer (stopped, swapped out, its socket lost) is
/// asked again for as long as it lives: it goes on without us, and somebody who wants it stopped is heard meanwhile.
async fn adopted(
    driver: &dyn Driver,
    files: &MachineFiles,
    report: &Report,
) -> Option<Arc<dyn Machine>> {
    let mut reason = Some("the VM that runs cannot be taken over yet");
    loop {
        match driver.adopt(files).await {
            Ok(machine) => return machine,
            Err(error) => {
                let qemu = match driver.observe(files).await {
                    MachineState::Alive { identity } => Some(identity),
                    MachineState::Absent | MachineState::Unknown { .. } => None,
                };
                report.update(reason.take(), |info| {
                    info.phase = Phase::Degraded;
                    info.errors = vec![error.to_string()];
                    info.qemu = qemu;
                });
            }
        }
        tokio::time::sleep(ADOPT_AGAIN).await;
    }
}

async fn start(
    options: &Options,
    driver: &dyn Driver,
    files: &MachineFiles,
    report: &Report,
) -> Result<Prepared, RunError> {
    let instance = in_background(options, |options| {
        let instance = load(options)?;
        write_cidata(options, &instance)?;
        process::crash::point("hostagent.start.after-cidata");
        Ok(instance)
    })
    .await?;
    let wanted = instance.template.ssh.local_port;
    let mut last = driver::qemu::last_record(files).map(|record| record.ssh_local_port);
    let mut tries = 0;
    loop {
        tries += 1;
        let port = ssh_port::choose(wanted, last.take())?;
        report.update(None, |info| info.ssh_local_port = port);
        let for_config = instance.clone();
        in_background(options, move |options| {
            write_ssh_config(options, &for_config, port)
        })
        .await?;
        process::crash::point("hostagent.start.after-ssh-config");
        let decided = Decided {
            root_bus: instance.hints.root_bus,
            firmware: instance.hints.firmware.clone(),
            ssh_local_port: port,
            accelerator: options.accelerator,
        };
        let spec = MachineSpec::from_template(&instance.template, &options.dir, decided)?;
        report.begin(StageName::Starting);
        match driver.start(&spec, files).await {
            Ok(machine) => {
                process::crash::point("hostagent.start.after-machine");
                return Ok(Prepared::new(options, machine, false, report));
            }
            Err(DriverError::StartFailed { tail, .. })
                if tries < PORT_TRIES && is_port_taken(&tail) =>
            {
                if wanted.is_some_and(|port| port != 0) {
                    return Err(RunError::PortInUse { port });
                }
                tracing::info!(
                    port,
                    "somebody took the port meanwhile; choosing another one"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// QEMU's words when it cannot bind a forwarded port (`net/slirp.c`).
fn is_port_taken(tail: &str) -> bool {
    tail.contains("Could not set up host forwarding rule")
}

/// Runs what reads and writes files on a thread where it may block.
async fn in_background<T: Send + 'static>(
    options: &Options,
    work: impl FnOnce(&Options) -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    let for_work = options.clone();
    match tokio::task::spawn_blocking(move || work(&for_work)).await {
        Ok(result) => result,
        Err(error) => Err(failed(options, error)),
    }
}

fn load(options: &Options) -> Result<Instance, RunError> {
    lima::instance::load(&options.dir).map_err(|error| failed(options, error))
}

fn write_cidata(options: &Options, instance: &Instance) -> Result<(), RunError> {
    let keys = lima::keys::ensure(&options.config_dir).map_err(|error| failed(options, error))?;
    lima::cidata::Facts::new(&options.dir, &instance.template, vec![keys.authorized_key])
        .and_then(|facts| facts.write_iso(&options.dir.cidata_iso()))
        .map_err(|error| failed(options, error))
}

fn write_ssh_config(options: &Options, instance: &Instance, port: u16) -> Result<(), RunError> {
    let keys = lima::keys::ensure(&options.config_dir).map_err(|error| failed(options, error))?;
    let settings = Settings {
        host: host(options),
        user: instance.template.user.name.clone().unwrap_or_default(),
        port,
        identity: keys.private,
        control_path: options.dir.ssh_sock(),
        forward_agent: instance.template.ssh.forward_agent.unwrap_or(false),
    };
    settings
        .write(&options.dir.ssh_config())
        .map_err(|error| failed(options, error))
}

/// The name that `ssh.config` gives the VM.
fn host(options: &Options) -> String {
    format!("lima-{}", options.dir.name())
}

fn failed(options: &Options, error: impl std::fmt::Display) -> RunError {
    RunError::Prepare {
        name: options.dir.name().to_owned(),
        reason: error.to_string(),
    }
}
