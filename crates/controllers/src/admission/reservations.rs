//! Names of VMs that have been admitted and are not stored yet.
//!
//! Two creates of one name in two namespaces at the same moment both find the name free. The second of them finds it
//! here. (Between two processes the controller decides: the VM that it sees first keeps the name.)

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Storing an admitted object takes milliseconds; after this it was refused, and the name is free again.
const ON_THE_WAY: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Reservations(Mutex<HashMap<String, (String, Instant)>>);

impl Reservations {
    /// Reserves the name for a VM of `namespace`; fails with the namespace that has it.
    pub(super) fn reserve(&self, name: &str, namespace: &str, now: Instant) -> Result<(), String> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, (_, since)| now.duration_since(*since) < ON_THE_WAY);
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
    fn a_name_is_given_to_one_namespace_until_its_create_must_have_ended() {
        let (names, now) = (Reservations::default(), Instant::now());
        assert_eq!(names.reserve("vm", "a", now), Ok(()));
        assert_eq!(names.reserve("vm", "b", now), Err("a".into()));
        assert_eq!(
            names.reserve("vm", "a", now),
            Ok(()),
            "a repetition is for the API server to refuse"
        );
        assert_eq!(names.reserve("other", "b", now), Ok(()));
        assert_eq!(names.reserve("vm", "b", now + ON_THE_WAY), Ok(()));
    }
}
