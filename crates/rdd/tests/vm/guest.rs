//! A VM for the tests.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use testutils::{Instance, VmSlot, poll};

/// A boot takes seconds on an idle machine; the suite shares two cores among many emulated guests.
pub(crate) const BOOT: Duration = Duration::from_secs(240);
/// The image is built once for all runs, from packages that are downloaded first.
const BUILD: Duration = Duration::from_secs(1200);

/// The name of the VM where a test has only one.
pub(crate) const NAME: &str = "web";

/// The template of the README.
pub(crate) fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates/debian-12.yaml")
}

/// An instance that can create VMs: the image is in the cache that the tests share.
pub(crate) fn instance() -> Instance {
    prepared(Instance::new(env!("CARGO_BIN_EXE_rdd")))
}

/// Makes sure that the guest image is in the cache.
pub(crate) fn prepared(instance: Instance) -> Instance {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        instance.rdd_ok_within(&["image", "build", "debian-12"], BUILD);
    });
    instance
}

/// An instance with one VM.
pub(crate) struct Guest {
    pub(crate) instance: Instance,
    _slot: VmSlot,
}

impl Guest {
    /// Creates a VM from the README's template and waits until it runs.
    pub(crate) fn boot() -> Self {
        Self::boot_in(instance())
    }

    pub(crate) fn boot_in(instance: Instance) -> Self {
        let slot = VmSlot::acquire();
        let template = template();
        let guest = Guest {
            instance,
            _slot: slot,
        };
        guest.rdd(&[
            "limavm",
            "create",
            NAME,
            &template.to_string_lossy(),
            "--start",
            "--wait",
        ]);
        guest
    }

    /// Runs `rdd ARGS`, which must succeed; on failure the logs are shown.
    #[track_caller]
    pub(crate) fn rdd(&self, args: &[&str]) -> String {
        let output = self.instance.rdd_within(args, BOOT);
        if !output.status.success() {
            self.instance.print_logs();
            panic!(
                "rdd {} ({}):\n{}\n{}",
                args.join(" "),
                output.status,
                output.text(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output.text()
    }

    /// Runs a command in the guest over ssh.
    #[track_caller]
    pub(crate) fn ssh(&self, command: &[&str]) -> String {
        self.rdd(&[&["limavm", "shell", NAME], command].concat())
    }

    /// The boot id of the guest's kernel, which differs for each boot.
    #[track_caller]
    pub(crate) fn boot_id(&self) -> String {
        self.ssh(&["cat", "/proc/sys/kernel/random/boot_id"])
    }

    /// A field of the VM as kubectl's JSONPath names it.
    #[track_caller]
    pub(crate) fn field(&self, path: &str) -> String {
        self.kubectl(&["get", "limavm", NAME, "-o", &format!("jsonpath={path}")])
    }

    /// Runs kubectl against the instance; it must succeed.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&self.instance, args)
    }

    /// Waits until a condition of the VM has this status and reason.
    #[track_caller]
    pub(crate) fn wait_for(&self, condition: &str, status: &str, reason: &str) {
        let path = format!(
            "{{.status.conditions[?(@.type==\"{condition}\")].status}}/{{.status.conditions[?(@.type==\"{condition}\")].reason}}"
        );
        let wanted = format!("{status}/{reason}");
        poll(BOOT, &format!("{condition} to be {wanted}"), || {
            let seen = self.field(&path);
            if seen == wanted { Ok(()) } else { Err(seen) }
        });
    }

    /// The folder of the VM.
    pub(crate) fn dir(&self) -> PathBuf {
        self.instance.lima_home().join(NAME)
    }

    /// The running process whose command line contains all of these words.
    #[track_caller]
    pub(crate) fn process(&self, words: &[&str]) -> process::Process {
        let mut found: Vec<_> = self
            .instance
            .leftovers()
            .into_iter()
            .filter(|one| words.iter().all(|word| one.command.contains(word)))
            .collect();
        assert_eq!(
            found.len(),
            1,
            "{words:?} among {:?}",
            self.instance.leftovers()
        );
        found.remove(0).process
    }
}

/// Runs kubectl against an instance; it must succeed.
#[track_caller]
pub(crate) fn kubectl(instance: &Instance, args: &[&str]) -> String {
    let run = instance
        .run("kubectl", BOOT)
        .arg("--kubeconfig")
        .arg(instance.kubeconfig())
        .args(args);
    match run.run() {
        Ok(output) => output.text(),
        Err(error) => panic!("kubectl {}: {error}", args.join(" ")),
    }
}
