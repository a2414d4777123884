//! Which VM has a name. Folders are called after VMs and not after namespaces, so two VMs of one name would share one.
//!
//! Admission refuses the second; this decides where it could not see the first (two creates at once in two processes,
//! a server without admission): the VM that the controller sees first keeps the name until it is gone.

use parking_lot::Mutex;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Holder>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

impl Names {
    /// Takes the name for this VM; fails with who has it.
    pub(crate) fn claim(&self, name: &str, holder: &Holder) -> Result<(), Holder> {
        let mut names = self.0.lock();
        match names.get(name) {
            Some(other) if other != holder => Err(other.clone()),
            Some(_) => Ok(()),
            None => {
                names.insert(name.to_owned(), holder.clone());
                Ok(())
            }
        }
    }

    /// Gives the name back, if this VM has it.
    pub(crate) fn release(&self, name: &str, holder: &Holder) {
        let mut names = self.0.lock();
        if names.get(name) == Some(holder) {
            names.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keeps_the_name_until_it_is_gone() {
        let holder = |uid: &str| Holder {
            namespace: "n".into(),
            uid: uid.into(),
        };
        let names = Names::default();
        assert_eq!(names.claim("vm", &holder("1")), Ok(()));
        assert_eq!(names.claim("vm", &holder("1")), Ok(()));
        assert_eq!(names.claim("vm", &holder("2")), Err(holder("1")));
        names.release("vm", &holder("2"));
        assert_eq!(names.claim("vm", &holder("2")), Err(holder("1")));
        names.release("vm", &holder("1"));
        assert_eq!(names.claim("vm", &holder("2")), Ok(()));
    }
}
