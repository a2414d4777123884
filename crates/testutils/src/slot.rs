//! Limits how many VMs the test programs on this machine run at the same time.

use std::time::Duration;

use process::FileLock;
use process::file::create_private_dir;

use crate::{machine, poll};

/// Emulated guests share the cores, so with more of them each misses its deadline. `RDD_TEST_VMS` overrides it.
const DEFAULT_SLOTS: u32 = 2;

/// The most time to wait for a slot. A longer wait means that another test hangs.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// The permission to run one VM. It is released when dropped, or by the kernel when the test dies.
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
