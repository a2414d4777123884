//! The agent's work at boot, in the order that makes ssh reachable soonest. Afterwards the agent answers the host.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use guestagent::cidata::{Network, Settings, Sources};
use guestagent::protocol::Phase;

use super::channel::Channel;
use super::netlink::{self, Uevents};
use super::{
    AGENT_PID_FILE, RUN_DIR, files, identity, kernel_log, kernel_modules, power, provision,
    root_disk, seed, sessions, sshd, system_settings,
};

/// The modules that the network of every driver needs. PCI comes first, because it finds the device.
const NETWORK_MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];
/// The driver of the ACPI power button, and the one through which logind reads it.
const BUTTON_MODULES: [&str; 2] = ["button", "evdev"];
/// The time that the network card may take to appear.
const NETWORK_WAIT: Duration = Duration::from_secs(10);

pub(crate) fn run() -> ExitCode {
    let _ = fs::create_dir_all(RUN_DIR);
    let pid = std::process::id().to_string();
    if let Err(error) = files::replace(Path::new(AGENT_PID_FILE), pid.as_bytes(), 0o644, None) {
        kernel_log::warning(&format!("cannot write {AGENT_PID_FILE}: {error}"));
    }
    let channel = Channel::open();
    let modules = thread::spawn(|| kernel_modules::load(&NETWORK_MODULES));
    let mut seed = match seed::read() {
        Ok(seed) => seed,
        Err(error) => {
            channel.failure(&error.to_string());
            None
        }
    };
    let settings = match &seed {
        Some(seed) => seed.settings.clone(),
        None => {
            channel.failure("no disk has the label cidata, so no user is set up");
            Settings::parse(&Sources::default())
        }
    };
    settings
        .warnings
        .iter()
        .for_each(|warning| channel.failure(warning));
    let report = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            channel.failure(&format!("{what}: {error}"));
        }
    };
    report(
        "cannot set the host name",
        identity::set_hostname(&settings.hostname),
    );
    report(
        "cannot write the names of hosts",
        system_settings::write_hosts(&settings),
    );
    report(
        "cannot write the variables of env",
        system_settings::write_environment(&settings),
    );
    if let Some(zone) = &settings.timezone {
        report(
            &format!("cannot set the time zone {zone}"),
            system_settings::set_timezone(zone),
        );
    }
    report(
        "cannot make host keys and machine id",
        identity::ensure(&settings.instance),
    );
    let mut uid = settings.user.uid;
    if let Some(seed) = &mut seed {
        match identity::ensure_user(&settings) {
            Ok(account) => {
                uid = account.uid;
                report("cannot correct the user id", seed.set_uid(uid));
            }
            Err(error) => channel.failure(&format!("cannot set up the user: {error}")),
        }
        report(
            "cannot prepare logins",
            sessions::prepare(&settings.user.name, uid),
        );
        provision::run_boot(seed, &channel);
    }
    let network = settings.network;
    let name_servers = settings.name_servers.clone();
    let networking = thread::spawn(move || {
        let _ = modules.join();
        let result = bring_up(&network, &name_servers);
        // After the network, which is needed sooner. Before ssh is up, because a power-down may come right then.
        thread::spawn(|| {
            kernel_modules::load(&BUTTON_MODULES);
            power::watch_button();
        });
        result
    });
    let started = sshd::start();
    match networking.join() {
        Ok(result) => report("cannot set up the network", result),
        Err(_) => channel.failure("cannot set up the network: the agent's thread panicked"),
    }
    match started {
        Ok(()) => {
            channel.update(|state| {
                state.phase = Phase::Ready;
                settings.user.name.clone_into(&mut state.user);
            });
            kernel_log::info("ssh is up");
        }
        Err(error) => channel.failure(&format!("cannot start sshd: {error}")),
    }
    match root_disk::grow() {
        Ok(Some(bytes)) => {
            kernel_log::info(&format!("grew the root file system to {} MiB", bytes >> 20));
        }
        Ok(None) => {}
        Err(error) => channel.failure(&error),
    }
    match &seed {
        Some(seed) => {
            let settling = thread::spawn(move || sessions::settle(uid));
            provision::run(seed, &channel, uid, settling);
        }
        None => channel.update(|state| state.phase = state.phase.max(Phase::Provisioned)),
    }
    // The channel's threads answer the host from here on. systemd ends this process at shutdown.
    loop {
        thread::park();
    }
}

fn bring_up(network: &Network, name_servers: &[IpAddr]) -> io::Result<()> {
    netlink::loopback_up()?;
    let events = Uevents::open()?;
    let (index, name) = events
        .wait_for(NETWORK_WAIT, netlink::ethernet)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no network card appeared"))?;
    netlink::configure(index, network)?;
    identity::write_network_files(&name, network, name_servers)
}
