//! The options of a hostagent.
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lima::layout::InstanceDir;

/// The options of a hostagent. The program that calls [`crate::run`] takes them from its command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// The VM's folder, already prepared (template, disks, keys).
    pub dir: InstanceDir,
    /// The folder with the ssh key pair: `lima_home/_config`.
    pub config_dir: PathBuf,
    /// Where the result of the accelerator probe is cached; shared by all VMs of the user.
    pub cache_dir: PathBuf,
    /// Where programs (QEMU, ssh) are looked for: the value of `PATH`.
    pub search_path: std::ffi::OsString,
    /// The accelerator that the user insists on; chosen by a probe if `None`.
    pub accelerator: Option<driver::Accelerator>,
    /// What the guest takes from the host: proxy variables and the user's ssh keys.
    pub host: lima::cidata::HostFacts,
    /// How long each step may take.
    pub limits: Limits,
    /// This host's clock, from which the guest's clock is set: [`SystemTime::now`], except in tests of clock jumps.
    pub wall_clock: fn() -> SystemTime,
}

/// How long each step may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the start of the VM to a login. After that the VM is `Degraded`, and logins are still tried.
    pub ready: Duration,
    /// How long the guest may take to shut down, if the stop request does not say.
    pub grace: Duration,
    /// How often the guest's health is checked.
    pub health: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Lima's default; a first boot under emulation that installs packages takes minutes.
            ready: Duration::from_secs(600),
            // A Debian guest needs one second; a loaded database may need many.
            grace: Duration::from_secs(30),
            health: Duration::from_secs(30),
        }
    }
}
