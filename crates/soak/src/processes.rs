//! The processes of an instance and their roles.

use std::collections::BTreeMap;
use std::fmt;

use process::Identity;
use testutils::{Instance, Leftover};

/// The role of a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// `rdd svc serve`.
    Daemon,
    /// The hostagent of the VM of this name.
    Hostagent(String),
    /// The machine of the VM of this name.
    Qemu(String),
    /// Another process, by its command line: a short-lived helper or an orphan.
    Other(String),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Daemon => f.write_str("the daemon"),
            Role::Hostagent(vm) => write!(f, "the hostagent of {vm}"),
            Role::Qemu(vm) => write!(f, "QEMU of {vm}"),
            Role::Other(command) => write!(f, "`{command}`"),
        }
    }
}

impl Role {
    fn of(command: &str) -> Role {
        let words: Vec<&str> = command.split(' ').collect();
        let after = |word: &str| {
            let at = words.iter().position(|one| *one == word)?;
            words.get(at + 1).copied()
        };
        if command.contains(" svc serve") {
            return Role::Daemon;
        }
        if words.get(1) == Some(&"hostagent")
            && let Some(vm) = after("--dir").and_then(|dir| dir.rsplit('/').next())
        {
            return Role::Hostagent(vm.to_owned());
        }
        if words
            .first()
            .is_some_and(|word| word.contains("qemu-system"))
            && let Some(name) = after("-name")
            && let Some(vm) = name.strip_prefix("lima-")
        {
            let vm = vm.split(',').next().unwrap_or(vm);
            return Role::Qemu(vm.to_owned());
        }
        Role::Other(command.to_owned())
    }
}

/// The processes that run now.
#[derive(Debug)]
pub(crate) struct Processes(BTreeMap<Role, Vec<Leftover>>);

impl Processes {
    pub(crate) fn of(instance: &Instance) -> Processes {
        let mut all: BTreeMap<Role, Vec<Leftover>> = BTreeMap::new();
        for one in instance.leftovers() {
            // Between fork and exec a child has the command line of its parent.
            all.entry(Role::of(&one.command)).or_default().push(one);
        }
        Processes(all)
    }

    /// The first process with this role.
    pub(crate) fn get(&self, role: &Role) -> Option<&Leftover> {
        self.0.get(role)?.first()
    }

    /// The number of processes with this role.
    pub(crate) fn count(&self, role: &Role) -> usize {
        self.0.get(role).map_or(0, Vec::len)
    }

    /// The roles that several processes have and only one should have, with their identities.
    pub(crate) fn doubles(&self) -> Vec<(Role, Vec<Identity>)> {
        self.0
            .iter()
            .filter(|(role, held)| !matches!(role, Role::Other(_)) && held.len() > 1)
            .map(|(role, held)| {
                let mut identities: Vec<_> = held
                    .iter()
                    .map(|one| one.process.identity().clone())
                    .collect();
                identities.sort_by_key(Identity::pid);
                (role.clone(), identities)
            })
            .collect()
    }

    /// The processes that are not in the given set.
    pub(crate) fn besides(&self, expected: &[Role]) -> Vec<String> {
        self.0
            .iter()
            .filter(|(role, _)| !expected.contains(role))
            .flat_map(|(role, held)| {
                held.iter()
                    .map(move |one| format!("{role} ({})", one.process.identity().pid()))
            })
            .collect()
    }

    /// The identity of each role, to compare it with a later state.
    pub(crate) fn identities(&self) -> BTreeMap<Role, Vec<u32>> {
        self.0
            .iter()
            .filter(|(role, _)| !matches!(role, Role::Other(_)))
            .map(|(role, held)| {
                let pids = held.iter().map(|one| one.process.identity().pid());
                (role.clone(), pids.collect())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_determined_by_command_lines() {
        for (command, role) in [
            (
                "/t/rdd --instance=t1 svc serve --background=true",
                Role::Daemon,
            ),
            (
                "/t/rdd hostagent --cache-dir /c --dir /h/.rdt1/lima/vm3",
                Role::Hostagent("vm3".into()),
            ),
            (
                "/usr/bin/qemu-system-x86_64 -name lima-vm3,debug-threads=on -nodefaults",
                Role::Qemu("vm3".into()),
            ),
            ("ssh -F x", Role::Other("ssh -F x".into())),
        ] {
            assert_eq!(Role::of(command), role);
        }
    }
}
