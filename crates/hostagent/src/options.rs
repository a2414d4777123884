//! What a hostagent is started with.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lima::layout::InstanceDir;

/// What a hostagent is started with. The program that calls [`crate::run`] takes them from its command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// The VM's folder. It was prepared (template, disks, keys) before.
    pub dir: InstanceDir,
    /// The folder with the ssh key pair: `lima_home/_config`.
    pub config_dir: PathBuf,
    /// Where the answer of the accelerator probe is kept; shared by all VMs of the user.
    pub cache_dir: PathBuf,
    /// Where programs (QEMU, ssh) are looked for: the value of `PATH`.
    pub search_path: std::ffi::OsString,
    /// The accelerator that the user insists on; chosen by a probe when `None`.
    pub accelerator: Option<driver::Accelerator>,
    /// How long things may take.
    pub limits: Limits,
    /// This host's clock, which the guest's is set by: [`SystemTime::now`], except in a test that lets it jump.
    pub wall_clock: fn() -> SystemTime,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the start of the VM to a login; after that the VM is `Degraded`, and still tried.
    pub ready: Duration,
    /// How long the guest may take to shut down when the stop request does not say.
    pub grace: Duration,
    /// How often the guest's health is looked at, once it runs.
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
