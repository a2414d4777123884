//! A short soak (`crates/soak`): random faults at a few VMs. `make soak` runs long ones.

use std::time::Duration;

use process::command::Run;

/// The test that runs in a mount namespace; by itself it is skipped.
const INSIDE: &str = "soak::inside_of_a_namespace";
/// One minute of faults and, at the worst, the way back from the last of them.
const LIMIT: Duration = Duration::from_secs(420);

#[test]
fn h33_random_faults_lose_no_vm_and_hurt_no_stranger() {
    let test = std::env::current_exe().unwrap();
    let [program, rest @ ..] = soak::NAMESPACE;
    let output = Run::new(program, LIMIT)
        .args(rest)
        .arg(test)
        .args([INSIDE, "--exact", "--ignored", "--nocapture"])
        .limit(16 << 20)
        .run_any()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.text());
    assert!(output.text().contains("1 passed"), "{}", output.text());
}

#[test]
#[ignore = "wants a mount namespace, which the test above makes"]
fn inside_of_a_namespace() {
    let options = soak::Options {
        binary: env!("CARGO_BIN_EXE_rdd").into(),
        vms: 3,
        seed: 1,
        duration: Duration::from_secs(60),
        faults: 40,
        small_disk: true,
        kept: testutils::cache_dir().join("soak"),
        tell: |line| println!("{line}"),
    };
    match soak::run(&options) {
        Ok(figures) => assert!(figures.count() > 5, "{figures:?}"),
        Err(violation) => panic!("{violation}"),
    }
}
