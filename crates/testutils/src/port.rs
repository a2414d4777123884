//! Ports of 127.0.0.1 that a test may hand to another program.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use process::FileLock;
use process::file::create_private_dir;

use crate::machine;

/// The systems give out ports from 32768 (Linux) or 49152 (macOS, Windows) when a program asks for any port, so none of
/// these is taken in that way. The instances' default ports (6443 and up) are below them.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A free port, reserved for one test until it is dropped. A port that is found by binding port 0 and released can be
/// given to another program before it is used.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: FileLock,
}

impl Port {
    /// Reserves one.
    ///
    /// # Panics
    /// Every port of the range is taken.
    #[must_use]
    pub fn reserve() -> Self {
        // Test programs start at different places, so that they seldom try the same ports.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = machine::lock_dir();
        create_private_dir(&folder).expect("the folder of the reserved ports");
        let size = RANGE.end - RANGE.start;
        let start = (std::process::id() % u32::from(size)) as u16;
        for _ in RANGE {
            let next = NEXT.fetch_add(1, Ordering::Relaxed) % size;
            let number = RANGE.start + (start + next) % size;
            let path = folder.join(format!("port-{number}.lock"));
            let lock = FileLock::try_acquire(&path, "a test").expect("a lock on a port");
            if let Some(lock) = lock
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Port {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no port of {RANGE:?} is free");
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_differ_and_are_free() {
        let ports: Vec<Port> = (0..20).map(|_| Port::reserve()).collect();
        let numbers: std::collections::BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        for number in numbers {
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok());
        }
    }
}
