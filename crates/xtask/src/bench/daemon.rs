//! Start, memory and size of the daemon.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use testutils::Instance;

use super::figure::{print, print_times, time};

/// How long the daemon is idle before its memory is read, so that it has released the memory of its start.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) fn measure(binary: &Path, starts: u32) -> anyhow::Result<()> {
    let size = fs::metadata(binary)
        .with_context(|| format!("cannot read {}", binary.display()))?
        .len();
    print("binary_size", mebibytes(size), "MiB");

    let instance = Instance::new(binary);
    let (first, _) = time(|| instance.rdd_ok(&["svc", "start"]));
    print(
        "svc_start_of_a_new_instance",
        first.as_secs_f64() * 1000.0,
        "ms",
    );

    let mut warm = Vec::new();
    for _ in 0..starts {
        instance.rdd_ok(&["svc", "stop", "--wait"]);
        warm.push(time(|| instance.rdd_ok(&["svc", "start"])).0);
    }
    print_times("svc_start", warm);

    #[expect(clippy::disallowed_methods, reason = "idling is what is measured")]
    std::thread::sleep(IDLE);
    let pid = pid_of_daemon(&instance)?;
    for (name, field) in [
        ("daemon_idle_rss", "VmRSS"),
        ("daemon_idle_rss_anonymous", "RssAnon"),
    ] {
        print(name, mebibytes(status_bytes(&pid, field)?), "MiB");
    }
    Ok(())
}

fn pid_of_daemon(instance: &Instance) -> anyhow::Result<String> {
    let status = instance.rdd_ok(&["svc", "status"]);
    let pid = status
        .rsplit("PID is: ")
        .next()
        .context("svc status printed no PID")?;
    Ok(pid.trim_matches(|c: char| !c.is_ascii_digit()).to_owned())
}

/// A field of `/proc/PID/status`, which gives kibibytes (proc_pid_status(5)).
fn status_bytes(pid: &str, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .with_context(|| format!("{path} has no {field}"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes here are far below 2^52 bytes"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
