//! Which VM has a name. A folder is named after its VM without the namespace, so two VMs of one name would share it.
//!
//! Admission refuses the second VM. If it could not see the first (two creates at the same time in two processes, a server
//! without admission), the VM that the controller sees first keeps the name until it is gone.

use parking_lot::Mutex;
use std::collections::HashMap;

/// The names in use.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Holder>>);

/// The VM that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

impl Names {
    /// Takes the name for this VM; fails with the VM that has it.
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

    /// Releases the name, if this VM has it.
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
    fn first_vm_keeps_the_name_until_it_is_gone() {
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
