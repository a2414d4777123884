//! Deletions that fail (hazard 22). The causes are real, and affect root as well.

use std::path::{Path, PathBuf};
use std::process::Command;

use api::lima::{FORCE_DELETE, condition as types, reason};
use api::rdd::CLEANUP_FINALIZER;
use kube::ResourceExt;

use crate::support::{Plane, condition, status};

/// A folder in a VM's folder that cannot be removed while this value exists: a mount point, or, without the right to
/// mount, a folder without write permission.
struct Undeletable {
    /// Where it is, and where it is after the VM's folder was renamed.
    places: [PathBuf; 2],
    mounted: bool,
}

impl Undeletable {
    fn within(plane: &Plane, vm: &str) -> Undeletable {
        let folder = plane.dir(vm).join("busy");
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(&folder)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            std::fs::write(folder.join("entry"), "").unwrap();
            set_mode(&folder, 0o500);
            let removed = std::fs::remove_file(folder.join("entry"));
            assert!(removed.is_err(), "root without the right to mount");
        }
        Undeletable {
            places: [folder, aside(plane, vm).join("busy")],
            mounted,
        }
    }
}

/// Makes the folder removable.
impl Drop for Undeletable {
    fn drop(&mut self) {
        for place in self.places.iter().filter(|place| place.exists()) {
            if self.mounted {
                // Lazily, because the controller may have it open.
                let _ = Command::new("umount").arg("-l").arg(place).status();
            } else {
                set_mode(place, 0o700);
            }
        }
    }
}

/// Where a VM's folder is while it is deleted.
fn aside(plane: &Plane, vm: &str) -> PathBuf {
    plane.lima_home().root.join(format!(".{vm}.tmp"))
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn h22_delete_retries_until_cleanup_succeeds() {
    let plane = Plane::start().await;
    plane.create_stopped("vm").await;
    let busy = Undeletable::within(&plane, "vm");
    let aside = aside(&plane, "vm");
    plane.delete("vm").await;
    for pause in ["1 s", "2 s", "4 s"] {
        let again = format!("trying again in {pause}");
        let vm = plane
            .wait("vm", &again, |vm| {
                vm.condition(types::DELETING).is_some_and(|deleting| {
                    deleting.reason == reason::DELETE_FAILED && deleting.message.ends_with(&again)
                })
            })
            .await;
        let message = &condition(&vm, types::DELETING).message;
        assert!(
            message.contains(aside.to_str().unwrap()) && message.contains("remove"),
            "it names action and folder: {message}"
        );
        assert!(vm.finalizers().contains(&CLEANUP_FINALIZER.to_owned()));
        assert_eq!(status(&vm).last_error.as_ref(), Some(message));
    }
    drop(busy);
    plane.wait_gone("vm").await;
    assert!(!plane.dir("vm").exists() && !aside.exists());
    let events = plane.wait_events("vm", &[reason::DELETE_FAILED]).await;
    assert!(events.iter().any(|event| event.count > Some(0)));
    plane.end().await;
}

#[tokio::test]
async fn h22_interrupted_delete_is_resumed_by_the_next_controller() {
    let mut plane = Plane::start().await;
    plane.create_stopped("vm").await;
    let busy = Undeletable::within(&plane, "vm");
    plane.delete("vm").await;
    plane
        .wait_reason("vm", types::DELETING, reason::DELETE_FAILED)
        .await;
    plane.crash().await;
    plane.start_controllers().await;
    plane
        .wait("vm", "failing again", |vm| {
            vm.condition(types::DELETING)
                .is_some_and(|deleting| deleting.message.ends_with("trying again in 2 s"))
        })
        .await;
    let aside = aside(&plane, "vm");
    drop(busy);
    plane.wait_gone("vm").await;
    assert!(!aside.exists());
    plane.end().await;
}

#[tokio::test]
async fn h22_force_delete_releases_a_vm_that_cannot_be_cleaned_up() {
    let plane = Plane::start().await;
    plane.create_stopped("vm").await;
    // Lima's own mark of an instance that must not be deleted.
    plane.make("vm", "protected");
    plane.delete("vm").await;
    let vm = plane
        .wait_reason("vm", types::DELETING, reason::DELETE_FAILED)
        .await;
    let message = &condition(&vm, types::DELETING).message;
    assert!(message.contains("is protected"), "{message}");
    // Any other value has no effect.
    plane.annotate("vm", FORCE_DELETE, "yes").await;
    plane
        .wait("vm", "still trying", |vm| {
            condition(vm, types::DELETING).message.ends_with("in 4 s")
        })
        .await;
    plane.annotate("vm", FORCE_DELETE, "true").await;
    plane.wait_gone("vm").await;
    assert!(
        plane.dir("vm").exists(),
        "the files are not deleted by force"
    );
    let events = plane.wait_events("vm", &["ForceDeleted"]).await;
    let message = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("ForceDeleted"))
        .and_then(|event| event.message.clone())
        .unwrap();
    assert!(
        message.contains(plane.dir("vm").to_str().unwrap()) && message.contains("is protected"),
        "it names what stays, and why: {message}"
    );
    plane.end().await;
}
