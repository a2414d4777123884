//! Names of VMs that have been admitted and are not stored yet.
//!
//! If two requests create VMs of one name in two namespaces at the same time, both find the name free in the API; the
//! second finds it reserved here. (Between two processes the controller decides: the VM that it sees first keeps the name.)

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a name is reserved. Storing an admitted object takes milliseconds; one that is not stored by then was refused.
const PENDING: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Reservations(Mutex<HashMap<String, (String, Instant)>>);

impl Reservations {
    /// Reserves the name for a VM of `namespace`; fails with the namespace that has reserved it.
    pub(super) fn reserve(&self, name: &str, namespace: &str, now: Instant) -> Result<(), String> {
        let mut names = self.0.lock();
        names.retain(|_, (_, since)| now.duration_since(*since) < PENDING);
        match names.get(name) {
            Some((holder, _)) if holder != namespace => Err(holder.clone()),
            _ => {
                names.insert(name.to_owned(), (namespace.to_owned(), now));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_reserved_for_one_namespace_until_its_create_must_have_ended() {
        let (names, now) = (Reservations::default(), Instant::now());
        assert_eq!(names.reserve("vm", "a", now), Ok(()));
        assert_eq!(names.reserve("vm", "b", now), Err("a".into()));
        assert_eq!(
            names.reserve("vm", "a", now),
            Ok(()),
            "the API server refuses a second VM of the same namespace"
        );
        assert_eq!(names.reserve("other", "b", now), Ok(()));
        assert_eq!(names.reserve("vm", "b", now + PENDING), Ok(()));
    }
}
