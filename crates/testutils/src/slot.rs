//! How many VMs the machine boots at once, over all test programs that run on it.

use std::time::Duration;

use process::FileLock;
use process::file::create_private_dir;

use crate::{machine, poll};

/// Emulated guests share the cores: more at once only makes each miss its deadline. `RDD_TEST_VMS` overrides.
const DEFAULT_SLOTS: u32 = 2;

/// The whole suite has 25 minutes; who waits longer than this has a neighbour that hangs.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// The permission to run one VM, given back when dropped, or by the kernel when the test dies.
#[derive(Debug)]
pub struct VmSlot {
    _lock: FileLock,
}

impl VmSlot {
    /// Waits for a free slot. Blocks the thread; take it before the VM's clock starts.
    #[must_use]
    pub fn acquire() -> Self {
        let count = std::env::var("RDD_TEST_VMS")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(DEFAULT_SLOTS)
            .max(1);
        let folder = machine::lock_dir();
        create_private_dir(&folder).expect("the folder of the VM slots");
        let label = std::env::current_exe()
            .map_or_else(|_| "a test".to_owned(), |exe| exe.display().to_string());
        poll(PATIENCE, "a free VM slot", || {
            for slot in 0..count {
                let path = folder.join(format!("vm-{slot}.lock"));
                if let Some(lock) =
                    FileLock::try_acquire(&path, &label).expect("a lock on a VM slot")
                {
                    return Ok(VmSlot { _lock: lock });
                }
            }
            Err(format!("all {count} slots of {} taken", folder.display()))
        })
    }

    /// [`VmSlot::acquire`] for tokio.
    pub async fn acquire_async() -> Self {
        tokio::task::spawn_blocking(Self::acquire)
            .await
            .expect("the wait for a VM slot")
    }
}
