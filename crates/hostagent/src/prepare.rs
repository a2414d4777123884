//! Gets to a running VM: adopts the one that runs, or writes its files and starts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{Driver, DriverError, Machine, MachineState, StartRequest};
use lima::instance::Instance;
use lima::ssh_config::{self, Settings};

use crate::known_hosts::KnownHosts;
use crate::options::Options;
use crate::outcome::RunError;
use crate::report::Report;
use crate::ssh_port;
use crate::ssh_probe::SshProbe;
use crate::status::{Phase, StageName};

/// Attempts with another port if another program takes the chosen one before QEMU binds it.
const PORT_ATTEMPTS: usize = 3;
/// Between two attempts to adopt a VM that does not answer; each attempt takes seconds by itself.
const ADOPT_INTERVAL: Duration = Duration::from_secs(1);
/// The images of this scheme were built by rdd and contain the guest agent, which reports the guest's host keys.
const BUILT_IMAGE: &str = "image://";

/// A VM that runs, and how to log in to it.
pub(crate) struct Prepared {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) ssh: SshProbe,
    /// A stop that was requested meanwhile: when, and with which grace period.
    pub(crate) stop: Option<(Instant, Duration)>,
}

impl Prepared {
    /// A VM that this hostagent started or adopted; updates the status.
    pub(crate) fn new(
        options: &Options,
        machine: Arc<dyn Machine>,
        adopted: bool,
        report: &Report,
    ) -> Prepared {
        let record = machine.record().clone();
        let reason = if adopted {
            "adopted the VM that was running"
        } else {
            "the VM was started"
        };
        if adopted {
            report.end_stage();
        } else {
            report.begin(StageName::Booting);
        }
        report.update(Some(reason), |info| {
            // An adopted VM may have booted long ago; the supervisor sets its phase in a moment.
            if !adopted {
                info.phase = Phase::Booting;
            }
            info.ssh_local_port = record.ssh_local_port;
            info.qemu = Some(machine.identity().clone());
            info.adopted = adopted;
            info.accelerator = record.accelerator;
            info.accelerator_warning = record.accelerator_warning;
            info.started_at = Some(record.started_at);
            info.boot_count = 1;
        });
        Prepared {
            machine,
            ssh: ssh(options),
            stop: None,
        }
    }
}

/// Adopts the VM that runs, or starts one. Cancelling it may leave a VM that is just starting; [`Driver::destroy`] finds
/// it.
pub(crate) async fn prepare(
    options: &Options,
    driver: &dyn Driver,
    report: &Report,
) -> Result<Prepared, RunError> {
    if driver.observe(&options.dir).await != MachineState::Absent {
        // Set before the attempt, so that a stop in between asks the guest to shut down.
        report.update(None, |info| info.adopted = true);
        report.begin(StageName::Adopting);
        if let Some(machine) = adopted(options, driver, report).await {
            process::crash::point("hostagent.after-adoption");
            if driver.capabilities().ssh_port && !options.dir.ssh_config().exists() {
                let port = machine.record().ssh_local_port;
                in_background(options, move |options| {
                    write_ssh_config(options, &load(options)?, port)
                })
                .await?;
            }
            return Ok(Prepared::new(options, machine, true, report));
        }
        // The VM ended in between.
        report.update(None, |info| info.adopted = false);
        report.begin(StageName::Preparing);
    }
    // A shared connection of an earlier run would otherwise lead to whatever listens on its port now.
    ssh(options).end_master().await;
    start(options, driver, report).await
}

/// Adopts the VM that runs; `None` if it ended. A VM that does not answer (stopped, swapped out, its socket lost) is
/// retried for as long as it lives: it keeps running without a hostagent, and a request to stop it is still handled.
async fn adopted(
    options: &Options,
    driver: &dyn Driver,
    report: &Report,
) -> Option<Arc<dyn Machine>> {
    let mut reason = Some("the VM that runs cannot be adopted yet");
    loop {
        match driver.adopt(&options.dir).await {
            Ok(machine) => return machine,
            Err(error) => {
                let qemu = match driver.observe(&options.dir).await {
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
        tokio::time::sleep(ADOPT_INTERVAL).await;
    }
}

async fn start(
    options: &Options,
    driver: &dyn Driver,
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
    let last = driver.last_record(&options.dir);
    let mut last = last.map(|record| record.ssh_local_port);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let port = if driver.capabilities().ssh_port {
            let port = ssh_port::choose(wanted, last.take())?;
            report.update(None, |info| info.ssh_local_port = port);
            let for_config = instance.clone();
            in_background(options, move |options| {
                write_ssh_config(options, &for_config, port)
            })
            .await?;
            port
        } else {
            0
        };
        process::crash::point("hostagent.start.after-ssh-config");
        let request = StartRequest {
            dir: &options.dir,
            template: &instance.template,
            hints: &instance.hints,
            ssh_local_port: port,
            accelerator: options.accelerator,
        };
        report.begin(StageName::Starting);
        match driver.start(&request).await {
            Ok(machine) => {
                process::crash::point("hostagent.start.after-machine");
                return Ok(Prepared::new(options, machine, false, report));
            }
            Err(DriverError::PortInUse { port }) => {
                if attempts >= PORT_ATTEMPTS || wanted.is_some_and(|port| port != 0) {
                    return Err(RunError::PortInUse { port });
                }
                tracing::info!(
                    port,
                    "another program took the port meanwhile; choosing another one"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs work that reads and writes files on a thread where it may block.
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
        .map(|facts| facts.with_host(&instance.template, &options.host))
        .and_then(|facts| facts.write_iso(&options.dir.cidata_iso()))
        .map_err(|error| failed(options, error))
}

fn write_ssh_config(options: &Options, instance: &Instance, port: u16) -> Result<(), RunError> {
    let keys = lima::keys::ensure(&options.config_dir).map_err(|error| failed(options, error))?;
    let known = KnownHosts::of(&options.dir, host(options));
    let settings = Settings {
        host: host(options),
        user: instance.template.user.name.clone().unwrap_or_default(),
        port,
        identity: keys.private,
        control_path: options.dir.ssh_sock(),
        known_hosts: ssh_config::known_hosts(&options.dir),
        require_known_key: known.any() || instance.hints.location.starts_with(BUILT_IMAGE),
        forward_agent: instance.template.ssh.forward_agent.unwrap_or(false),
    };
    settings
        .write(&options.dir.ssh_config())
        .map_err(|error| failed(options, error))
}

/// How to log in to the VM of `options`.
pub(crate) fn ssh(options: &Options) -> SshProbe {
    SshProbe {
        config: options.dir.ssh_config(),
        host: host(options),
        search_path: options.search_path.clone(),
        control_path: options.dir.ssh_sock(),
    }
}

/// The name of the VM in `ssh.config`.
fn host(options: &Options) -> String {
    format!("lima-{}", options.dir.name())
}

fn failed(options: &Options, error: impl std::fmt::Display) -> RunError {
    RunError::Prepare {
        name: options.dir.name().to_owned(),
        reason: error.to_string(),
    }
}
