//! A short assault (`crates/assault`): hostile requests, connections, templates and files. `make assault` runs long ones,
//! with the limits of PROMISES.md.
#![cfg(target_os = "linux")]

use std::time::Duration;

/// A program that is not optimised takes some 30 MiB more than a release build, whose limit is 200 MiB.
const MEMORY_LIMIT: u64 = 256 << 20;
/// Not a promise but a lock-out: a busy machine delays every answer.
const OWNER_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn daemon_survives_hostile_requests_connections_templates_and_files() {
    let options = assault::Options {
        binary: env!("CARGO_BIN_EXE_rdd").into(),
        seed: 1,
        fuzz: Duration::from_secs(20),
        connections: 1_100,
        memory_limit: MEMORY_LIMIT,
        owner_limit: OWNER_LIMIT,
        only: None,
        print: |line| println!("{line}"),
    };
    let report = assault::run(&options).unwrap();
    assert_eq!(report.held(), report.verdicts.len());
}
