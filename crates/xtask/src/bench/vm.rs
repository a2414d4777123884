//! Boot and stop of a VM from the image that `rdd image build debian-12` makes.

use std::path::Path;
use std::time::Duration;

use testutils::Instance;

use super::figure::{print, print_times, time};
use crate::workspace;

/// The image is built when it is not there, which takes a minute or two.
const BUILD: Duration = Duration::from_secs(900);
/// A boot takes seconds; a hung one must not hold up the measurement for long.
const BOOT: Duration = Duration::from_secs(180);

pub(crate) fn measure(binary: &Path, boots: u32) -> anyhow::Result<()> {
    let template = workspace::root().join("templates/debian-12.yaml");
    let template = template.to_string_lossy();
    let instance = Instance::new(binary);
    let vm = |command: &[&str]| {
        instance.rdd_ok_within(&[&["limavm"], command].concat(), BOOT);
    };

    instance.rdd_ok_within(&["image", "build", "debian-12"], BUILD);
    instance.rdd_ok(&["svc", "start"]);
    let (created, ()) = time(|| vm(&["create", "bench", &template]));
    print("vm_create", created.as_secs_f64() * 1000.0, "ms");

    let (first, ()) = time(|| {
        vm(&["start", "bench", "--wait"]);
        vm(&["shell", "bench", "true"]);
    });
    print("vm_first_start_to_ssh", first.as_secs_f64() * 1000.0, "ms");

    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..boots {
        stops.push(time(|| vm(&["stop", "bench", "--wait"])).0);
        let started = time(|| {
            vm(&["start", "bench", "--wait"]);
            vm(&["shell", "bench", "true"]);
        });
        starts.push(started.0);
    }
    print_times("vm_start_to_ssh", starts);
    print_times("vm_stop", stops);
    Ok(())
}
